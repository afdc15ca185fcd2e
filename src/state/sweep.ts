import { existsSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';

/**
 * Removes what writeFileAtomic() left in a directory when its process was killed: temporary files whose process is gone.
 * A number taken over by another process keeps a file until that one ends: it does no harm.
 */
export function sweepTemporary(directory: string): void {
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch {
    return;
  }
  for (const name of names) {
    const pid = /\.tmp\.(\d+)\.\d+$/.exec(name)?.[1];
    if (pid && !existsSync(`/proc/${pid}`)) rmSync(path.join(directory, name), { force: true });
  }
}
