import { existsSync } from 'node:fs';
import { fromErrno, NsboxError, UnsupportedError } from '../../base/index.js';
import { connectUnix, openChannel } from '../../kernel/index.js';
import { decodeMessage, encodeMessage, type Message, TYPE, type Value } from './wire.js';

/** systemd's own socket, for root: it works before and without a bus daemon. */
const PRIVATE = '/run/systemd/private';
const SYSTEM = '/run/dbus/system_bus_socket';

/** Milliseconds to wait for an answer: systemctl's own patience. */
const PATIENCE = 90_000;

/** An error that the other side answered with. */
export class BusError extends NsboxError {
  override readonly name = 'BusError';
  /** As `org.freedesktop.systemd1.UnitExists`. */
  readonly busName: string;
  constructor(busName: string, member: string, text: string) {
    super('UNSUPPORTED', `systemd refused ${member}: ${text}`, { syscall: member });
    this.busName = busName;
  }
}

interface Waiting {
  member: string;
  resolve: (body: Value[]) => void;
  reject: (error: Error) => void;
}

/** One connection to systemd. Close it: while it is open it keeps the process. */
export class SystemdBus implements Disposable {
  readonly #channel: ReturnType<typeof openChannel>;
  readonly #waiting = new Map<number, Waiting>();
  readonly #jobs = new Map<string, (result: string) => void>();
  /** Jobs that ended before anybody asked for them. */
  readonly #ended = new Map<string, string>();
  readonly #destination: string | undefined;
  #serial = 0;
  #pending: Buffer = Buffer.alloc(0);
  #greeted = false;
  #failure: Error | undefined;

  private constructor(fd: number, destination: string | undefined) {
    this.#destination = destination;
    this.#channel = openChannel(fd, (chunk) => this.#take(chunk));
  }

  /**
   * Connects as the user we are: systemd's private socket, or the system bus.
   * @throws UnsupportedError where no systemd listens
   */
  static async connect(): Promise<SystemdBus> {
    const direct = existsSync(PRIVATE);
    const path = direct ? PRIVATE : SYSTEM;
    let fd: number;
    try {
      fd = connectUnix(path);
    } catch (error) {
      throw new UnsupportedError('systemd not running on this host, cannot use systemd cgroups manager', {
        cause: fromErrno(`connect to ${path}`, error, { path }),
        path,
        hint: 'use --cgroup-manager cgroupfs',
      });
    }
    const bus = new SystemdBus(fd, direct ? undefined : 'org.freedesktop.systemd1');
    try {
      const user = Buffer.from(String(process.geteuid?.() ?? 0)).toString('hex');
      // What follows BEGIN may be sent at once: the server reads on where it ends.
      bus.#send(Buffer.from(`\0AUTH EXTERNAL ${user}\r\nBEGIN\r\n`, 'latin1'));
      if (!direct) {
        await bus.#call(
          'org.freedesktop.DBus',
          '/org/freedesktop/DBus',
          'org.freedesktop.DBus',
          'Hello',
          '',
          [],
        );
        const rule = "type='signal',interface='org.freedesktop.systemd1.Manager',member='JobRemoved'";
        await bus.#call(
          'org.freedesktop.DBus',
          '/org/freedesktop/DBus',
          'org.freedesktop.DBus',
          'AddMatch',
          's',
          [rule],
        );
        await bus.manager('Subscribe', '', []);
      }
      return bus;
    } catch (error) {
      bus[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Calls a method of systemd's manager object.
   * @throws BusError with systemd's own words; NsboxError TIMEOUT, or where the connection ends
   */
  manager(member: string, signature: string, body: Value[]): Promise<Value[]> {
    return this.#call(
      this.#destination,
      '/org/freedesktop/systemd1',
      'org.freedesktop.systemd1.Manager',
      member,
      signature,
      body,
    );
  }

  /** Waits for a job that a method started: its result, `done` where it worked. */
  job(path: string): Promise<string> {
    const ended = this.#ended.get(path);
    if (ended !== undefined) return Promise.resolve(ended);
    return this.#within('a job', (resolve, reject) => {
      if (this.#failure) reject(this.#failure);
      this.#jobs.set(path, resolve);
    });
  }

  [Symbol.dispose](): void {
    this.#channel.close();
    this.#fail(new NsboxError('ABORTED', 'the connection to systemd was closed'));
  }

  #call(
    destination: string | undefined,
    path: string,
    iface: string,
    member: string,
    signature: string,
    body: Value[],
  ): Promise<Value[]> {
    return this.#within(member, (resolve, reject) => {
      if (this.#failure) {
        reject(this.#failure);
        return;
      }
      const serial = ++this.#serial;
      this.#waiting.set(serial, { member, resolve, reject });
      this.#send(
        encodeMessage({
          type: TYPE.call,
          serial,
          destination,
          path,
          interface: iface,
          member,
          signature,
          body,
        }),
      );
    });
  }

  #within<T>(
    what: string,
    start: (resolve: (value: T) => void, reject: (error: Error) => void) => void,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new NsboxError('TIMEOUT', `systemd did not answer ${what} within ${PATIENCE / 1000} s`)),
        PATIENCE,
      );
      const settle =
        <A>(then: (value: A) => void) =>
        (value: A): void => {
          clearTimeout(timer);
          then(value);
        };
      start(settle(resolve), settle(reject));
    });
  }

  #send(bytes: Buffer): void {
    if (!this.#channel.send(bytes)) this.#fail(new NsboxError('ABORTED', 'systemd closed the connection'));
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const one of waiting) one.reject(error);
    for (const resolve of this.#jobs.values()) resolve('lost');
    this.#jobs.clear();
  }

  #take(chunk: Buffer | null): void {
    if (!chunk) {
      this.#fail(
        new NsboxError('PERMISSION', 'systemd closed the connection', {
          hint: 'only root may ask the system manager for scopes',
        }),
      );
      return;
    }
    this.#pending = this.#pending.length > 0 ? Buffer.concat([this.#pending, chunk]) : chunk;
    try {
      if (!this.#greeted && !this.#greet()) return;
      for (;;) {
        const next = decodeMessage(this.#pending);
        if (!next) return;
        this.#pending = this.#pending.subarray(next.size);
        this.#deliver(next.message);
      }
    } catch (error) {
      this.#fail(new NsboxError('INTERNAL', `systemd's answer cannot be read: ${(error as Error).message}`));
    }
  }

  /** `OK <guid>`, then messages. */
  #greet(): boolean {
    const end = this.#pending.indexOf('\r\n');
    if (end < 0) return false;
    const line = this.#pending.toString('latin1', 0, end);
    this.#pending = this.#pending.subarray(end + 2);
    if (!line.startsWith('OK ')) {
      this.#fail(new NsboxError('PERMISSION', `systemd refused the connection: ${line}`));
      return false;
    }
    this.#greeted = true;
    return true;
  }

  #deliver(message: Message): void {
    if (message.type === TYPE.signal) {
      if (message.member !== 'JobRemoved') return;
      // (u id, o job, s unit, s result)
      const [, path, , result] = message.body as [number, string, string, string];
      const wanted = this.#jobs.get(path);
      this.#jobs.delete(path);
      if (wanted) wanted(result);
      else this.#ended.set(path, result);
      return;
    }
    const call = this.#waiting.get(message.replySerial ?? 0);
    if (!call) return;
    this.#waiting.delete(message.replySerial ?? 0);
    if (message.type === TYPE.reply) call.resolve(message.body);
    else
      call.reject(
        new BusError(message.errorName ?? '', call.member, String(message.body[0] ?? message.errorName)),
      );
  }
}
