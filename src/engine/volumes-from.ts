import { type Context, InvalidError } from '../base/index.js';
import type { ContainerRequest, MountRequest } from '../spec/index.js';
import { findContainer } from './containers.js';

/**
 * Adds the volumes and bind mounts of other containers to a request (`--volumes-from NAME[:ro|rw]`), at the same places;
 * a mount that the request has itself at a place stays.
 * @throws NotFoundError; InvalidError for another mode
 */
export function addVolumesFrom(ctx: Context, request: ContainerRequest, specs: readonly string[]): void {
  const taken = new Set(request.mounts.map((m) => m.target));
  for (const spec of specs) {
    const [name = '', mode = 'rw', more] = spec.split(':');
    if (more !== undefined || !['ro', 'rw', 'z', 'Z'].includes(mode)) {
      throw new InvalidError(`invalid --volumes-from: ${spec} (expected CONTAINER or CONTAINER:ro)`);
    }
    const other = findContainer(ctx, name);
    for (const point of other.mounts) {
      if (point.type === 'tmpfs' || taken.has(point.destination)) continue;
      taken.add(point.destination);
      const mount: MountRequest = {
        type: point.type,
        source: point.name ?? point.source,
        target: point.destination,
        readonly: mode === 'ro' || !point.rw,
        createSource: false,
      };
      request.mounts.push(mount);
    }
  }
}
