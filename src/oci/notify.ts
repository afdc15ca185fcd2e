import { chmodSync, closeSync, mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import {
  closeFd,
  isAlive,
  makePipe,
  openChannel,
  type ProcessIdentity,
  sendFd,
  unixDatagram,
} from '../kernel/index.js';
import type { Spec } from '../spec/index.js';

/**
 * systemd's readiness protocol from within a container, as runc has it: the container gets a socket of ours at
 * /run/notify, and what it says of being ready is handed on to the caller's NOTIFY_SOCKET, with the pid to watch.
 * @see sd_notify(3)
 */
const INSIDE = '/run/notify';
const NAME = 'notify.sock';
/** Milliseconds between two looks at whether the container still runs. */
const LOOK = 100;
/** Milliseconds that the other side has to take notice. */
const BARRIER = 30_000;

/** Makes the directory of the socket, and the spec's mount and variable for it. */
export function setUpNotify(spec: Spec, directory: string): void {
  const own = path.join(directory, 'notify');
  mkdirSync(own, { mode: 0o755 });
  spec.mounts = [
    ...(spec.mounts ?? []),
    {
      destination: INSIDE,
      type: 'bind',
      source: own,
      options: ['bind', 'nosuid', 'noexec', 'nodev', 'ro'],
    },
  ];
  if (spec.process) {
    const others = (spec.process.env ?? []).filter((e) => !e.startsWith('NOTIFY_SOCKET='));
    spec.process = { ...spec.process, env: [...others, `NOTIFY_SOCKET=${INSIDE}/${NAME}`] };
  }
}

/** The container's side of the socket, until it is ready or gone. */
export interface Notify {
  /**
   * Waits for READY=…, and hands it on with MAINPID. Returns also where the process has ended.
   * @param main the pid to name
   * @param watched ends the waiting when it is gone
   */
  forward(main: number, watched: ProcessIdentity): Promise<void>;
  close(): void;
}

/**
 * Listens at the container's socket. To be done before its program runs.
 * @param host the caller's NOTIFY_SOCKET
 * @throws the addon's error with code, syscall and path
 */
export function listenNotify(directory: string, host: string, warn: (message: string) => void): Notify {
  const socket = path.join(directory, 'notify', NAME);
  rmSync(socket, { force: true });
  const fd = unixDatagram(socket, true);
  // Whatever user the program runs as.
  chmodSync(socket, 0o777);
  let ready: ((line: string) => void) | undefined;
  let said: string | undefined;
  const channel = openChannel(fd, (data, fds) => {
    for (const passed of fds) closeFd(passed);
    const line = data
      ?.toString()
      .split('\n')
      .find((l) => l.startsWith('READY='));
    if (line === undefined) return;
    said ??= line;
    ready?.(said);
  });
  return {
    forward: async (main, watched) => {
      const line = await new Promise<string | undefined>((resolve) => {
        const timer = setInterval(() => {
          if (!isAlive(watched)) resolve(undefined);
        }, LOOK);
        const done = (value: string | undefined) => {
          clearInterval(timer);
          resolve(value);
        };
        ready = done;
        if (said !== undefined) done(said);
      });
      if (line !== undefined) await tell(host, line, main, warn);
    },
    close: () => channel.close(),
  };
}

/** Three messages: ready, whom to watch, and one whose fd is closed when those before it have been read. */
async function tell(
  host: string,
  ready: string,
  main: number,
  warn: (message: string) => void,
): Promise<void> {
  const fd = unixDatagram(host, false);
  const channel = openChannel(fd, () => {});
  const [read, write] = makePipe();
  try {
    channel.send(Buffer.from(`${ready}\n`));
    channel.send(Buffer.from(`MAINPID=${main}\n`));
    sendFd(fd, 'BARRIER=1', write);
  } catch (error) {
    closeFd(read);
    throw error;
  } finally {
    closeSync(write);
    channel.close();
  }
  await closed(read, warn);
}

/** Waits until nobody has the other end of a pipe. */
async function closed(fd: number, warn: (message: string) => void): Promise<void> {
  const { Socket } = await import('node:net');
  const pipe = new Socket({ fd, readable: true, writable: false });
  await new Promise<void>((resolve) => {
    const timer = setTimeout(() => {
      warn('Timeout after waiting 30s for barrier. Ignored.');
      resolve();
    }, BARRIER);
    const done = () => {
      clearTimeout(timer);
      resolve();
    };
    pipe.on('close', done);
    pipe.on('error', done);
    pipe.resume();
  });
  pipe.destroy();
}
