import type { Socket } from 'node:net';
import { connectUnix, openChannel } from '../kernel/index.js';

/** The connection below a MonitorClient. */
export interface MonitorLine {
  /** Sends all of it. @returns false where the caller should wait for `drained` */
  write(data: Buffer): boolean;
  /** Calls back once what was written has gone (or never will). */
  drained(callback: () => void): void;
  /** Stops and resumes reading. */
  pause(on: boolean): void;
  /** Whether it keeps the event loop alive. */
  ref(on: boolean): void;
  destroy(): void;
}

/** What a line tells its owner. */
interface LineEvents {
  data(chunk: Buffer): void;
  /** The other side has gone, or destroy() was called. */
  close(): void;
}

/**
 * Connects to a monitor's socket.
 * @param bulk whether a program's input is to be sent. Then it is a socket of node:net, which keeps what the kernel doesn't
 * take at once; loading that takes milliseconds, and requests of a few bytes always fit.
 * @throws the addon's error with code, syscall and path
 */
export async function openLine(path: string, events: LineEvents, bulk: boolean): Promise<MonitorLine> {
  if (!bulk) return channelLine(connectUnix(path), events);
  const { Socket } = await import('node:net');
  return socketLine(new Socket({ fd: connectUnix(path), readable: true, writable: true }), events);
}

function channelLine(fd: number, events: LineEvents): MonitorLine {
  let open = true;
  const end = (): void => {
    if (!open) return;
    open = false;
    queueMicrotask(() => events.close());
  };
  const channel = openChannel(fd, (chunk) => {
    if (!open) return;
    if (chunk) events.data(chunk);
    else end();
  });
  return {
    write: (data) => {
      // What a monitor that has just ended doesn't take is of no use; its last words are still to be read.
      channel.send(data);
      return true;
    },
    drained: (callback) => callback(),
    pause: (on) => {
      if (open) channel.pause(on);
    },
    ref: (on) => {
      if (on) channel.ref();
      else channel.unref();
    },
    destroy: () => {
      channel.close();
      end();
    },
  };
}

function socketLine(socket: Socket, events: LineEvents): MonitorLine {
  socket.on('data', (chunk) => events.data(chunk));
  // Only the end counts: a write to a monitor that has just ended fails, and what it said is still to be read.
  socket.on('error', () => {});
  socket.on('close', () => events.close());
  return {
    write: (data) => socket.write(data),
    drained: (callback) => {
      socket.once('drain', callback);
      socket.once('close', callback);
    },
    pause: (on) => {
      if (on) socket.pause();
      else socket.resume();
    },
    ref: (on) => {
      if (on) socket.ref();
      else socket.unref();
    },
    destroy: () => socket.destroy(),
  };
}
