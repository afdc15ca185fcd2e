import { constants } from 'node:os';
import { fromErrno, isErrno, NsboxError } from '../base/index.js';
import {
  type ClientMessage,
  decodeKeeperMessage,
  encodeClientMessage,
  encodeFrame,
  FrameDecoder,
  type KeeperMessage,
  MAX_FRAME,
  STREAM,
} from '../kernel/index.js';
import { type MonitorLine, openLine } from './monitor-line.js';

export type Hello = Extract<KeeperMessage, { type: 'hello' }>;
/** How a run ended. */
export type MonitorExit = Omit<Extract<KeeperMessage, { type: 'exit' }>, 'type'>;

/** A connection to a container's monitor. The protocol is drawn in native/init/keep_clients.h. */
export class MonitorClient {
  /** The monitor's first words: it serves us. Undefined where it went away before. */
  readonly hello: Promise<Hello | undefined>;
  /** The end of the current run; undefined where the monitor went away without telling (it was killed). */
  readonly exit: Promise<MonitorExit | undefined>;
  #line!: MonitorLine;
  readonly #acks: { resolve: (errno: number) => void; reject: (error: Error) => void }[] = [];
  #onData: (stream: 1 | 2, data: Buffer) => void = () => {};
  #over = false;

  readonly #decoder: FrameDecoder;
  #exitCame: (exit: MonitorExit | undefined) => void = () => {};
  #helloCame: (hello: Hello | undefined) => void = () => {};

  private constructor() {
    this.hello = new Promise((resolve) => {
      this.#helloCame = resolve;
    });
    this.exit = new Promise((resolve) => {
      this.#exitCame = resolve;
    });
    this.#decoder = new FrameDecoder({
      data: (stream, data) => this.#onData(stream, data),
      control: (payload) => {
        const message = decodeKeeperMessage(payload);
        if (message?.type === 'hello') this.#helloCame(message);
        else if (message?.type === 'ack') this.#acks.shift()?.resolve(message.errno);
        else if (message?.type === 'exit') {
          const { type: _, ...exit } = message;
          this.#over = true;
          this.#exitCame(exit);
          this.#line.destroy();
        }
      },
    });
  }

  #closed(): void {
    this.#over = true;
    this.#helloCame(undefined);
    this.#exitCame(undefined);
    const gone = new NsboxError('CONFLICT', 'the monitor of the container has ended');
    for (const ack of this.#acks.splice(0)) ack.reject(gone);
  }

  /**
   * Connects to `<state>/containers/<id>/monitor.sock`.
   * @param options.stdin whether writeStdin will be called
   * @returns undefined where no monitor listens: the container doesn't run
   */
  static async connect(path: string, options: { stdin?: boolean } = {}): Promise<MonitorClient | undefined> {
    const client = new MonitorClient();
    const events = {
      data: (chunk: Buffer) => client.#decoder.push(chunk),
      close: () => client.#closed(),
    };
    try {
      client.#line = await openLine(path, events, options.stdin ?? false);
    } catch (error) {
      if (isErrno(error, 'ENOENT', 'ECONNREFUSED', 'ENOTDIR')) return undefined;
      throw fromErrno('connect to the monitor of the container', error, { path });
    }
    return client;
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
      this.#line.write(encodeClientMessage(message));
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
    this.#line.write(encodeClientMessage(message));
  }

  /** Sends data for the program's stdin. @returns false where the caller should wait for `drained` */
  writeStdin(data: Buffer): boolean {
    if (this.#over) return true;
    let room = true;
    for (let at = 0; at < data.length; at += MAX_FRAME) {
      room = this.#line.write(encodeFrame(STREAM.stdin, data.subarray(at, at + MAX_FRAME)));
    }
    return room;
  }

  /** Calls back once what was written has gone (or never will). */
  drained(callback: () => void): void {
    this.#line.drained(callback);
  }

  /** Stops and resumes the reading of output; while it is stopped the program waits, as on a full pipe. */
  pause(on: boolean): void {
    this.#line.pause(on);
  }

  /** Whether this connection keeps the event loop alive. */
  ref(on: boolean): void {
    this.#line.ref(on);
  }

  close(): void {
    this.#over = true;
    this.#line.destroy();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
