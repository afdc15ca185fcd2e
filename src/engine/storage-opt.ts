import { InvalidError, UnsupportedError } from '../base/index.js';
import type { HostFacts } from '../host/index.js';
import type { ContainerRequest } from '../spec/index.js';

/**
 * Refuses `--storage-opt` before anything is made: a size that is not enforced would be worse than none.
 * @throws InvalidError for an option that isn't known; UnsupportedError for `size`
 */
export function checkStorageOptions(request: ContainerRequest, host: HostFacts): void {
  for (const [name, value] of Object.entries(request.storageOpt)) {
    if (name !== 'size') {
      throw new InvalidError(`unknown storage option ${name}=${value}`, { hint: 'there is one: size=BYTES' });
    }
    const { path, filesystem } = host.root;
    throw new UnsupportedError(
      `cannot limit the container's writable layer to ${value}: nsbox sets no project quotas, and ${path} is on ${filesystem}`,
      {
        path,
        hint: 'put what grows on a tmpfs with a size (--tmpfs /data:size=64m), or keep --root on a filesystem of its own',
      },
    );
  }
}
