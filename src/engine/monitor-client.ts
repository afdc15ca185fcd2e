import type { Socket } from 'node:net';
import { constants } from 'node:os';
import { fromErrno, isErrno, NsboxError } from '../base/index.js';
import {
  type ClientMessage,
  connectUnix,
  decodeKeeperMessage,
  encodeClientMessage,
  encodeFrame,
  FrameDecoder,
  type KeeperMessage,
  MAX_FRAME,
  STREAM,
} from '../kernel/index.js';

export type Hello = Extract<KeeperMessage, { type: 'hello' }>;
/** How a run ended. */
export type MonitorExit = Omit<Extract<KeeperMessage, { type: 'exit' }>, 'type'>;

/** A connection to a container's monitor. The protocol is drawn in native/init/keep_clients.h. */
export class MonitorClient {
  /** The monitor's first words: it serves us. Undefined where it went away before. */
  readonly hello: Promise<Hello | undefined>;
  /** The end of the current run; undefined where the monitor went away without telling (it was killed). */
  readonly exit: Promise<MonitorExit | undefined>;
  readonly #socket: Socket;
  readonly #acks: { resolve: (errno: number) => void; reject: (error: Error) => void }[] = [];
  #onData: (stream: 1 | 2, data: Buffer) => void = () => {};
  #over = false;

  private constructor(socket: Socket) {
    this.#socket = socket;
    let helloCame: (hello: Hello | undefined) => void = () => {};
    let exitCame: (exit: MonitorExit | undefined) => void = () => {};
    this.hello = new Promise((resolve) => {
      helloCame = resolve;
    });
    this.exit = new Promise((resolve) => {
      exitCame = resolve;
    });
    const decoder = new FrameDecoder({
      data: (stream, data) => this.#onData(stream, data),
      control: (payload) => {
        const message = decodeKeeperMessage(payload);
        if (message?.type === 'hello') helloCame(message);
        else if (message?.type === 'ack') this.#acks.shift()?.resolve(message.errno);
        else if (message?.type === 'exit') {
          const { type: _, ...exit } = message;
          this.#over = true;
          exitCame(exit);
          this.#socket.destroy();
        }
      },
    });
    socket.on('data', (chunk) => decoder.push(chunk));
    // Only the end counts: a write to a monitor that has just ended fails, and what it said is still to be read.
    socket.on('error', () => {});
    socket.on('close', () => {
      this.#over = true;
      helloCame(undefined);
      exitCame(undefined);
      const gone = new NsboxError('CONFLICT', 'the monitor of the container has ended');
      for (const ack of this.#acks.splice(0)) ack.reject(gone);
    });
  }

  /**
   * Connects to `<state>/containers/<id>/monitor.sock`.
   * @returns undefined where no monitor listens: the container doesn't run
   */
  static async connect(path: string): Promise<MonitorClient | undefined> {
    const { Socket } = await import('node:net');
    let fd: number;
    try {
      fd = connectUnix(path);
    } catch (error) {
      if (isErrno(error, 'ENOENT', 'ECONNREFUSED', 'ENOTDIR')) return undefined;
      throw fromErrno('connect to the monitor of the container', error, { path });
    }
    return new MonitorClient(new Socket({ fd, readable: true, writable: true }));
  }

  /** Called for all output from now on. */
  onData(handler: (stream: 1 | 2, data: Buffer) => void): void {
    this.#onData = handler;
  }

  /** Sends a request and waits for its answer. @throws NsboxError with the monitor's errno */
  async request(message: Exclude<ClientMessage, { type: 'closeStdin' }>): Promise<void> {
    const errno = await new Promise<number>((resolve, reject) => {
      if (this.#over) {
        reject(new NsboxError('CONFLICT', 'the monitor of the container has ended'));
        return;
      }
      this.#acks.push({ resolve, reject });
      this.#socket.write(encodeClientMessage(message));
    });
    if (errno !== 0) {
      const name = Object.entries(constants.errno).find(([, number]) => number === errno)?.[0];
      throw fromErrno(`${message.type} the container`, { code: name ?? `errno ${errno}` });
    }
  }

  /** Sends a request whose answer nobody waits for. */
  tell(message: ClientMessage): void {
    if (this.#over) return;
    if (message.type !== 'closeStdin') this.#acks.push({ resolve: () => {}, reject: () => {} });
    this.#socket.write(encodeClientMessage(message));
  }

  /** Sends data for the program's stdin. @returns false where the caller should wait for `drained` */
  writeStdin(data: Buffer): boolean {
    if (this.#over) return true;
    let room = true;
    for (let at = 0; at < data.length; at += MAX_FRAME) {
      room = this.#socket.write(encodeFrame(STREAM.stdin, data.subarray(at, at + MAX_FRAME)));
    }
    return room;
  }

  /** Calls back once what was written has gone (or never will). */
  drained(callback: () => void): void {
    this.#socket.once('drain', callback);
    this.#socket.once('close', callback);
  }

  /** Stops and resumes the reading of output; while it is stopped the program waits, as on a full pipe. */
  pause(on: boolean): void {
    if (on) this.#socket.pause();
    else this.#socket.resume();
  }

  /** Whether this connection keeps the event loop alive. */
  ref(on: boolean): void {
    if (on) this.#socket.ref();
    else this.#socket.unref();
  }

  close(): void {
    this.#over = true;
    this.#socket.destroy();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
