import { existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ConflictError, type Context, fromErrno } from '../../base/index.js';

/** `--cidfile` and `--pidfile`. */

/** Refuses a file that is there already, before anything is made. */
export function refuseIdFile(file: string | undefined, ctx: Context): void {
  if (file === undefined || !existsSync(path.resolve(ctx.cwd, file))) return;
  throw new ConflictError(
    `container ID file found, make sure the other container isn't running or delete ${file}`,
  );
}

export function writeIdFile(file: string | undefined, text: string, ctx: Context): void {
  if (file === undefined) return;
  try {
    writeFileSync(path.resolve(ctx.cwd, file), text, { mode: 0o644 });
  } catch (error) {
    throw fromErrno(`write ${file}`, error, { path: file });
  }
}
