import { closeSync, readFileSync } from 'node:fs';
import { addon } from './addon.js';

declare module './addon.js' {
  interface NativeAddon {
    unixConnect(path: string): number;
    unixAsk(path: string, byte: number, type: number): Buffer;
    unixDatagram(path: string, bind: boolean): number;
    seqpacketPair(): [number, number];
    sendFd(socket: number, data: string | Buffer, fd: number): void;
    pidfdOpen(pid: number): number;
    pidfdSignal(pidfd: number, signal: number): void;
    pidfdWait(pidfd: number, milliseconds: number): boolean;
    /** _exit(2); see src/base/leave.ts. */
    exitNow(code: number): void;
  }
}

const SOCK_STREAM = 1;

/**
 * Connects to a unix socket and gives the fd, for handing it on. Paths may be longer than sockaddr_un allows.
 * @throws the addon's error with code, syscall and path
 */
export function connectUnix(path: string): number {
  return addon().unixConnect(path);
}

/** Sends one byte to a listening unix socket and returns all it answers until it closes. Blocks until then. */
export function askUnix(path: string, byte: number): Buffer {
  return addon().unixAsk(path, byte, SOCK_STREAM);
}

/**
 * A datagram socket bound to a path, or connected to it; a path that begins with `@` is abstract.
 * @throws the addon's error with code, syscall and path
 * @see unix(7)
 */
export function unixDatagram(path: string, bind: boolean): number {
  return addon().unixDatagram(path, bind);
}

/** Two connected sockets that keep messages apart; both close on exec. @see socketpair(2), SOCK_SEQPACKET */
export function seqpacketPair(): [number, number] {
  return addon().seqpacketPair();
}

/** Sends data with one fd (SCM_RIGHTS). @see unix(7) */
export function sendFd(socket: number, data: string | Buffer, fd: number): void {
  addon().sendFd(socket, data, fd);
}

/** A process file descriptor; close it with closeSync. @see pidfd_open(2) */
export function openPidfd(pid: number): number {
  return addon().pidfdOpen(pid);
}

/** @see pidfd_send_signal(2) */
export function signalPidfd(pidfd: number, signal: number): void {
  addon().pidfdSignal(pidfd, signal);
}

/** Waits for the end of a process: true when it has ended. Blocks for up to `milliseconds` (-1: for ever). */
export function waitPidfd(pidfd: number, milliseconds: number): boolean {
  return addon().pidfdWait(pidfd, milliseconds);
}

/** What tells a process from a later one with the same number. */
export interface ProcessIdentity {
  pid: number;
  /** Start time in clock ticks since boot: field 22 of /proc/PID/stat. */
  startTicks: string;
}

/** State letter and start time of a process; undefined where there is none. @see proc_pid_stat(5) */
export function processStat(pid: number): { state: string; startTicks: string } | undefined {
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    return undefined;
  }
  // The name, in parentheses, may hold anything.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0] ?? 'X', startTicks: fields[19] ?? '' };
}

/** Whether this very process still runs (a zombie doesn't). */
export function isAlive(process: ProcessIdentity): boolean {
  if (process.pid <= 0) return false;
  const stat = processStat(process.pid);
  return stat !== undefined && stat.startTicks === process.startTicks && !/[ZXx]/.test(stat.state);
}

/**
 * Sends a signal to this very process, never to another that took its number.
 * @returns false where it has ended
 */
export function signalProcess(process: ProcessIdentity, signal: number): boolean {
  let fd: number;
  try {
    fd = addon().pidfdOpen(process.pid);
  } catch (error) {
    if ((error as { code?: string }).code === 'ESRCH') return false;
    throw error;
  }
  try {
    // The pidfd pins the process, so what stat says now holds for what gets the signal.
    if (!isAlive(process)) return false;
    if (signal !== 0) addon().pidfdSignal(fd, signal);
    return true;
  } catch (error) {
    if ((error as { code?: string }).code === 'ESRCH') return false;
    throw error;
  } finally {
    closeSync(fd);
  }
}
