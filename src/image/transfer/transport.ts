import path from 'node:path';
import { type Context, InvalidError, UnsupportedError } from '../../base/index.js';

/** Where an image is, or goes: `docker` is a registry, `store` is ours. */
export type Place =
  | { transport: 'store'; reference: string }
  | { transport: 'docker'; reference: string }
  | { transport: 'dir'; path: string }
  | {
      transport: 'oci' | 'oci-archive' | 'docker-archive';
      path: string;
      /** Tag or name within; `@2` is the third image of a docker-archive. */
      reference: string | undefined;
    };

const FILES = new Set(['oci', 'oci-archive', 'docker-archive']);
const OTHERS = new Set(['containers-storage', 'docker-daemon', 'ostree', 'sif', 'tarball', 'atomic']);

/**
 * Reads `TRANSPORT:DETAILS` as skopeo and podman do: `docker://NAME`, `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`,
 * `docker-archive:FILE[:NAME]`, `dir:DIR`. What has no transport is an image of the store.
 * @see containers-transports(5)
 * @throws InvalidError, UnsupportedError for a transport that belongs to another program
 */
export function parsePlace(ctx: Pick<Context, 'cwd'>, text: string): Place {
  const colon = text.indexOf(':');
  const transport = text.slice(0, Math.max(0, colon));
  const rest = text.slice(colon + 1);
  if (transport === 'docker' && rest.startsWith('//')) {
    if (rest === '//') throw new InvalidError('docker:// needs the name of an image');
    return { transport, reference: rest.slice(2) };
  }
  if (OTHERS.has(transport)) {
    throw new UnsupportedError(`nsbox has no transport ${transport}:`, {
      hint: 'docker://, oci:, oci-archive:, docker-archive: and dir: lead from one program to the other',
    });
  }
  if (transport === 'dir') {
    if (rest === '') throw new InvalidError('dir: needs a directory');
    return { transport, path: path.resolve(ctx.cwd, rest) };
  }
  if (FILES.has(transport)) {
    const end = rest.indexOf(':');
    const file = end < 0 ? rest : rest.slice(0, end);
    if (file === '') throw new InvalidError(`${transport}: needs a path`);
    const reference = end < 0 ? undefined : rest.slice(end + 1);
    if (reference === '') throw new InvalidError(`nothing follows the last colon of ${JSON.stringify(text)}`);
    return {
      transport: transport as 'oci',
      path: path.resolve(ctx.cwd, file),
      reference,
    };
  }
  return { transport: 'store', reference: text };
}

/** How a place is written. */
export function placeText(place: Place): string {
  switch (place.transport) {
    case 'store':
      return place.reference;
    case 'docker':
      return `docker://${place.reference}`;
    case 'dir':
      return `dir:${place.path}`;
    default:
      return `${place.transport}:${place.path}${place.reference === undefined ? '' : `:${place.reference}`}`;
  }
}
