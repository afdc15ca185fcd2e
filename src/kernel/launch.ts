import { addon, initPath } from './addon.js';

declare module './addon.js' {
  interface NativeAddon {
    openInit(path: string): number;
    spawnInit(
      execFd: number,
      plan: Buffer,
      stdio: [number, number, number],
      passed: number[],
      name: string,
      newSession: boolean,
    ): [pid: number, controlFd: number];
    reap(pid: number, wait: boolean): [code: number, signal: number] | null;
    pipe(): [read: number, write: number];
    closeFd(fd: number): void;
    Channel: new (fd: number, onData: (chunk: Buffer | null, fds: number[]) => void) => NativeChannel;
  }
}

/** A socket on the event loop. */
export interface NativeChannel {
  send(data: Buffer): boolean;
  /** Stops and resumes reading. */
  pause(on: boolean): void;
  close(): void;
  ref(): void;
  unref(): void;
}

/** What the monitor says. The handshake is drawn in native/launch/message.h. */
export type MonitorMessage =
  | { type: 'sync'; point: number; pid: number }
  | { type: 'ready'; pid: number }
  | { type: 'started'; pid: number }
  | { type: 'terminal'; fd: number }
  | ({ type: 'failed' } & StepFailure)
  | ({ type: 'exited' } & ExitReport)
  | { type: 'notice'; list: number; step: number; errno: number }
  | { type: 'trace'; list: number; step: number; start: bigint; end: bigint };

/** A step that the kernel refused, with what native code knows of it. */
export interface StepFailure {
  list: number;
  step: number;
  errno: number;
  syscall: string;
  path: string;
  detail: string;
  /** execve only: st_mode and the first bytes of the file. */
  mode: number;
  head: Buffer;
}

/** How the container's first process ended. */
export interface ExitReport {
  code: number;
  signal: number;
  /** Microseconds. */
  userTime: number;
  systemTime: number;
  /** Bytes. */
  maxRss: number;
  minorFaults: number;
  majorFaults: number;
  /** Contents of the files that the plan's report step names. */
  files: Record<string, string>;
}

const TYPE = {
  sync: 1,
  granted: 2,
  terminal: 4,
  ready: 5,
  started: 6,
  failed: 7,
  exited: 8,
  signal: 9,
  notice: 10,
  trace: 11,
  adopt: 13,
};

let initFd: number | undefined;

export interface SpawnOptions {
  plan: Buffer;
  /** Fds that become 0, 1, 2 of the program (or of the monitor, where the plan makes its own stdio); -1: /dev/null. */
  stdio?: [number, number, number];
  /** Fds for the plan's slots from 3. They stay open here. */
  passed?: number[];
  /** Shown in `ps`: the container's id. */
  name: string;
  /** Out of the caller's session and process group, so that a terminal's ^C doesn't reach the monitor. */
  newSession?: boolean;
  onMessage: (message: MonitorMessage) => void;
  /** The monitor closed its socket: it has ended, or left (OCI create). */
  onEnd: () => void;
}

/** A running monitor, as seen by the runtime. */
export class Monitor {
  readonly pid: number;
  readonly #channel: NativeChannel;
  #pending: Buffer = Buffer.alloc(0);
  #fds: number[] = [];
  #open = true;

  /** @internal */
  constructor(pid: number, fd: number, options: Pick<SpawnOptions, 'onMessage' | 'onEnd'>) {
    this.pid = pid;
    this.#channel = new (addon().Channel)(fd, (chunk, fds) => {
      this.#fds.push(...fds);
      if (chunk) this.#take(chunk, options.onMessage);
      else {
        this.#open = false;
        options.onEnd();
      }
    });
  }

  /** Tells that what a sync point waited for is done (or has failed, which ends the launch). */
  grant(point: number, ok: boolean): void {
    this.#send(TYPE.granted, point, ok ? 1 : 0);
  }

  /** Sends a signal to the container's first process; nothing where it has ended. */
  signal(number: number): void {
    this.#send(TYPE.signal, number);
  }

  /**
   * The program has made another child for the monitor (CLONE_PARENT): its end is what the monitor waits for and
   * reports, and it gets the signals. To be said before the program ends.
   */
  adopt(pid: number): void {
    this.#send(TYPE.adopt, pid);
  }

  /** Waits for the ended monitor, so that it leaves no zombie. Blocks where it still runs. */
  reap(): void {
    try {
      addon().reap(this.pid, true);
    } catch {
      // ECHILD: someone else in this process has waited for it
    }
  }

  /** Lets go of the monitor: it goes on by itself. */
  close(): void {
    if (this.#open) this.#channel.close();
    this.#open = false;
  }

  /** Whether this monitor keeps the event loop alive. */
  ref(on: boolean): void {
    if (!this.#open) return;
    if (on) this.#channel.ref();
    else this.#channel.unref();
  }

  #send(type: number, ...values: number[]): void {
    if (!this.#open) return;
    const b = Buffer.alloc(8 + values.length * 4);
    b.writeUInt32LE(4 + values.length * 4, 0);
    b.writeUInt32LE(type, 4);
    values.forEach((v, i) => {
      b.writeUInt32LE(v, 8 + i * 4);
    });
    this.#channel.send(b);
  }

  #take(chunk: Buffer, onMessage: (m: MonitorMessage) => void): void {
    this.#pending = this.#pending.length ? Buffer.concat([this.#pending, chunk]) : chunk;
    while (this.#pending.length >= 8) {
      const size = this.#pending.readUInt32LE(0);
      if (this.#pending.length < size + 4) return;
      const message = decode(this.#pending.subarray(4, size + 4), this.#fds);
      this.#pending = this.#pending.subarray(size + 4);
      if (message) onMessage(message);
    }
  }
}

class Cursor {
  #at = 4;
  readonly type: number;
  constructor(private readonly b: Buffer) {
    this.type = b.readUInt32LE(0);
  }
  u32(): number {
    this.#at += 4;
    return this.b.readUInt32LE(this.#at - 4);
  }
  u64(): bigint {
    this.#at += 8;
    return this.b.readBigUInt64LE(this.#at - 8);
  }
  bytes(): Buffer {
    const size = this.u32();
    const at = this.#at;
    this.#at += size + 1;
    return Buffer.from(this.b.subarray(at, at + size));
  }
  str(): string {
    return this.bytes().toString();
  }
}

function decode(body: Buffer, fds: number[]): MonitorMessage | undefined {
  const c = new Cursor(body);
  switch (c.type) {
    case TYPE.sync:
      return { type: 'sync', point: c.u32(), pid: c.u32() };
    case TYPE.ready:
      return { type: 'ready', pid: c.u32() };
    case TYPE.started:
      return { type: 'started', pid: c.u32() };
    case TYPE.terminal:
      return { type: 'terminal', fd: fds.shift() ?? -1 };
    case TYPE.failed:
      return { type: 'failed', ...decodeFailure(c) };
    case TYPE.exited: {
      const report: ExitReport = {
        code: c.u32(),
        signal: c.u32(),
        userTime: Number(c.u64()),
        systemTime: Number(c.u64()),
        maxRss: Number(c.u64()) * 1024,
        minorFaults: Number(c.u64()),
        majorFaults: Number(c.u64()),
        files: {},
      };
      for (let n = c.u32(); n > 0; n--) {
        const file = c.str();
        report.files[file] = c.str();
      }
      return { type: 'exited', ...report };
    }
    case TYPE.notice:
      return { type: 'notice', list: c.u32(), step: c.u32(), errno: c.u32() };
    case TYPE.trace:
      return { type: 'trace', list: c.u32(), step: c.u32(), start: c.u64(), end: c.u64() };
    default:
      return undefined;
  }
}

function decodeFailure(c: Cursor): StepFailure {
  return {
    list: c.u32(),
    step: c.u32(),
    errno: c.u32(),
    syscall: c.str(),
    path: c.str(),
    detail: c.str(),
    mode: c.u32(),
    head: c.bytes(),
  };
}

/** A failure that init itself sent (to `start`, OCI); undefined where the bytes are something else. */
export function decodeInitFailure(record: Buffer): StepFailure | undefined {
  if (record.length < 12) return undefined;
  const c = new Cursor(record.subarray(4));
  return c.type === TYPE.failed ? decodeFailure(c) : undefined;
}

/**
 * Starts nsbox-init as monitor with an encoded plan. The cost doesn't depend on the size of this process (vfork(2)).
 * @throws an error of the addon with code, syscall and path
 */
export function spawnMonitor(options: SpawnOptions): Monitor {
  initFd ??= addon().openInit(initPath());
  const [pid, fd] = addon().spawnInit(
    initFd,
    options.plan,
    options.stdio ?? [-1, -1, -1],
    options.passed ?? [],
    options.name,
    options.newSession ?? false,
  );
  return new Monitor(pid, fd, options);
}

/** A process that does nothing until it is let go, or until this one is gone. */
export interface Holder {
  readonly pid: number;
  /** Ends it, and waits for that. */
  end(): void;
}

/**
 * Starts nsbox-init without a plan: a process of no rights worth having that waits for the end of its control socket. For
 * what is given to a process and must be there before the container's own.
 * @param name shown in `ps`
 */
export function spawnHolder(name: string): Holder {
  initFd ??= addon().openInit(initPath());
  const [pid, fd] = addon().spawnInit(initFd, Buffer.alloc(0), [-1, -1, -1], [], name, true);
  let open = true;
  return {
    pid,
    end: () => {
      if (!open) return;
      open = false;
      addon().closeFd(fd);
      try {
        addon().reap(pid, true);
      } catch {
        // ECHILD: someone else in this process has waited for it
      }
    },
  };
}

/**
 * Watches a socket on the event loop and takes it over; messages of up to 64 KiB arrive whole where it keeps them
 * apart (SOCK_SEQPACKET).
 * @param onData gets each message with the fds that came along, and `null` at the end
 */
export function openChannel(fd: number, onData: (data: Buffer | null, fds: number[]) => void): NativeChannel {
  return new (addon().Channel)(fd, onData);
}

/** A pipe whose ends close on exec: [read, write]. @see pipe2(2) */
export function makePipe(): [read: number, write: number] {
  return addon().pipe();
}

/** Closes an fd that this room made. */
export function closeFd(fd: number): void {
  addon().closeFd(fd);
}
