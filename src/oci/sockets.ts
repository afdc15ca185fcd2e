import { closeSync } from 'node:fs';
import { fromErrno, isErrno } from '../base/index.js';
import { connectUnix, openPidfd, sendFd } from '../kernel/index.js';

/**
 * Connects to a socket that the caller or the configuration names.
 * @param what "the console socket", for the message
 * @throws NsboxError that names the path
 */
export function connectSocket(what: string, path: string): number {
  try {
    return connectUnix(path);
  } catch (error) {
    throw fromErrno(`connect to ${what} ${path}`, error, { path, hint: 'does somebody listen there?' });
  }
}

/** Hands a pidfd of the process to whoever listens there; the end of the stream says that it has ended already. */
export function sendPidfd(path: string, pid: number): void {
  const socket = connectSocket('the pidfd socket', path);
  try {
    let pidfd: number;
    try {
      pidfd = openPidfd(pid);
    } catch (error) {
      if (isErrno(error, 'ESRCH')) return;
      throw fromErrno(`open a pidfd of process ${pid}`, error);
    }
    try {
      sendFd(socket, 'pidfd', pidfd);
    } finally {
      closeSync(pidfd);
    }
  } finally {
    closeSync(socket);
  }
}
