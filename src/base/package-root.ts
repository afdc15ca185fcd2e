import { existsSync } from 'node:fs';
import path from 'node:path';

let found: string | undefined;

/** The directory of the installed package: where build/, bin/ and the profile files lie. */
export function packageRoot(): string {
  if (found) return found;
  let dir = import.meta.dirname;
  while (!existsSync(path.join(dir, 'binding.gyp')) && path.dirname(dir) !== dir) dir = path.dirname(dir);
  found = dir;
  return dir;
}
