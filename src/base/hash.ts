import { createRequire } from 'node:module';
import path from 'node:path';
import { packageRoot } from './package-root.js';

export type Hash = import('node:crypto').Hash;

let crypto: typeof import('node:crypto') | undefined;

/** As node:crypto's, which is loaded when the first hash is asked for and not at every start (3 ms). */
export function createHash(algorithm: 'sha256' | 'sha512' | 'sha384'): Hash {
  crypto ??= createRequire(path.join(packageRoot(), 'package.json'))(
    'node:crypto',
  ) as typeof import('node:crypto');
  return crypto.createHash(algorithm);
}
