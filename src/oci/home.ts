import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { openat2, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS } from '../kernel/index.js';
import { resolveUser, type SpecProcess } from '../spec/index.js';

/** /etc/passwd of a real system is far smaller. */
const LARGEST = 1 << 20;

/**
 * The process with HOME in its environment, as other runtimes have it: from the container's own /etc/passwd, `/`
 * where its user has no entry.
 * @param root the container's root filesystem, or /proc/PID/root
 */
export function withHome(process: SpecProcess, root: string): SpecProcess {
  if (process.env?.some((e) => e.startsWith('HOME='))) return process;
  const { home } = resolveUser(String(process.user.uid), [], () => readPasswd(root));
  return { ...process, env: [...(process.env ?? []), `HOME=${home}`] };
}

/** Links in there are followed inside the root alone; what isn't a small regular file is nothing. */
function readPasswd(root: string): string | undefined {
  let directory: number | undefined;
  let fd: number | undefined;
  try {
    directory = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
    const flags = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;
    fd = openat2(directory, 'etc/passwd', flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
    const st = fstatSync(fd);
    if (!st.isFile() || st.size > LARGEST) return undefined;
    const buffer = Buffer.alloc(st.size);
    return buffer.toString('utf8', 0, readSync(fd, buffer, 0, st.size, 0));
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
    if (directory !== undefined) closeSync(directory);
  }
}
