import { Writer } from './wire.js';

/** How the monitor keeps a container; native/init/keep_config.h is the other side of encodeKeepConfig. */
export interface KeepConfig {
  id: string;
  /** `<state>/containers/<id>`: lock, running.json, monitor.sock. Must exist. */
  stateDir: string;
  /** `<root>/containers/<id>`: log.json, exit.json. Must exist. */
  dataDir: string;
  /** Where events are appended, one JSON object a line. Empty: no events. */
  eventsFile: string;
  /** What an event says of the container besides its id. */
  event: { from: string; attributes: Record<string, string> };
  log: KeepLog;
  tty: boolean;
  /** -i: the program has a stdin. */
  openStdin: boolean;
  /** stdin ends with the first attached client that had it (`run -i` in the foreground). */
  stdinOnce: boolean;
  restart: RestartPolicy;
  /** Number; default 15 (TERM). */
  stopSignal: number;
  /** Milliseconds; STOP_WITHOUT_END never kills. */
  stopTimeoutMs: number;
  /** The end of the control socket kills the container (library). */
  dieWithRuntime: boolean;
  /** --rm: the end isn't recorded, the plan's finish list removes everything. */
  autoRemove: boolean;
  /** `memory.events` (v2) or `memory.oom_control` (v1) of the container's groups. */
  oomFiles: string[];
  /** Absent: no health checks. */
  health?: KeepHealth | undefined;
}

/** A program that the monitor starts again and again while the container runs; exit code 0 is a success. */
export interface KeepHealth {
  /** An absolute path and arguments, at most 32. Its environment is empty. */
  command: string[];
  /** Milliseconds from the end of one to the start of the next. */
  intervalMs: number;
  /** Milliseconds: the interval within the start period, until the first success. */
  startIntervalMs: number;
  /** Milliseconds after the start of a run. */
  startPeriodMs: number;
}

export type KeepLog =
  | { driver: 'none' }
  | {
      driver: 'json-file';
      /** Bytes; 0: never rotated. */
      maxSize: number;
      /** Files in all, ≥ 1. */
      maxFiles: number;
      /** Added to each line as `attrs`. */
      attributes?: Record<string, string> | undefined;
    };

export interface RestartPolicy {
  name: 'no' | 'on-failure' | 'always' | 'unless-stopped';
  maximumRetryCount: number;
}

const KEEP_VERSION = 1;
const RESTART = { no: 0, 'on-failure': 1, always: 2, 'unless-stopped': 3 } as const;

/** A stop timeout that never ends (`stop -t -1`). */
export const STOP_WITHOUT_END = 0xffffffff;
/** Let the monitor use the container's own signal or timeout. */
export const STOP_DEFAULT = 0xfffffffe;

/** The bytes that a plan carries for the monitor's keeping loop. */
export function encodeKeepConfig(config: KeepConfig): Uint8Array {
  const log = config.log;
  const file = log.driver === 'json-file' ? log : undefined;
  const attributes = file?.attributes;
  return new Writer()
    .u32(KEEP_VERSION)
    .str(config.id)
    .str(config.stateDir)
    .str(config.dataDir)
    .str(config.eventsFile)
    .str(JSON.stringify(config.event.from))
    .str(JSON.stringify(config.event.attributes))
    .u8(file ? 1 : 0)
    .u64(file?.maxSize ?? 0)
    .u32(file?.maxFiles ?? 1)
    .str(attributes && Object.keys(attributes).length > 0 ? JSON.stringify(attributes) : '')
    .flag(config.tty)
    .flag(config.openStdin)
    .flag(config.stdinOnce)
    .u8(RESTART[config.restart.name])
    .u32(config.restart.maximumRetryCount)
    .u32(0)
    .u32(config.stopSignal)
    .u32(config.stopTimeoutMs)
    .flag(config.dieWithRuntime)
    .flag(config.autoRemove)
    .strs(config.oomFiles)
    .strs(config.health?.command ?? [])
    .u64(config.health?.intervalMs ?? 0)
    .u64(config.health?.startIntervalMs ?? 0)
    .u64(config.health?.startPeriodMs ?? 0)
    .finish();
}

/** Streams of a frame on monitor.sock: `{u8 stream, 3 zero bytes, u32be length}`, then the payload. */
export const STREAM = { stdin: 0, stdout: 1, stderr: 2, control: 3 } as const;

/** The longest payload that either side sends. */
export const MAX_FRAME = 16384;

/** One frame; a payload longer than MAX_FRAME must be cut by the caller. */
export function encodeFrame(stream: number, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(8 + payload.length);
  frame.writeUInt32BE(stream * 0x1000000, 0);
  frame.writeUInt32BE(payload.length, 4);
  frame.set(payload, 8);
  return frame;
}

/** What a client asks of the monitor. Every request but `closeStdin` is answered by `ack`; all clients hear
 * of the exit. */
export type ClientMessage =
  | { type: 'attach'; stdin: boolean; stdout: boolean; stderr: boolean; size?: TerminalSize | undefined }
  | { type: 'resize'; size: TerminalSize }
  | { type: 'closeStdin' }
  | { type: 'stop'; signal?: number | undefined; timeoutMs?: number | undefined }
  | { type: 'signal'; signal: number }
  | { type: 'wait' }
  | { type: 'restartPolicy'; policy: RestartPolicy }
  /** The end of this run doesn't remove a --rm container: it is about to be started again. */
  | { type: 'keep' }
  | { type: 'eventAttributes'; attributes: Record<string, string> };

export interface TerminalSize {
  rows: number;
  columns: number;
}

/** What the monitor tells a client. */
export type KeeperMessage =
  | { type: 'hello'; version: number; tty: boolean; openStdin: boolean; restarting: boolean; pid: number }
  | { type: 'exit'; exitCode: number; signal: number; oomKilled: boolean; restarting: boolean }
  | { type: 'ack'; request: number; errno: number };

const OP = {
  attach: 1,
  resize: 2,
  closeStdin: 3,
  stop: 4,
  signal: 5,
  wait: 6,
  restartPolicy: 7,
  keep: 8,
  eventAttributes: 9,
} as const;

/** Encodes a client's request as a whole frame. */
export function encodeClientMessage(message: ClientMessage): Buffer {
  const w = new Writer().u8(OP[message.type]);
  switch (message.type) {
    case 'attach':
      w.u8((message.stdin ? 1 : 0) | (message.stdout ? 2 : 0) | (message.stderr ? 4 : 0));
      w.u32(message.size?.rows ?? 0).u32(message.size?.columns ?? 0);
      break;
    case 'resize':
      w.u32(message.size.rows).u32(message.size.columns);
      break;
    case 'stop':
      w.u32(message.signal ?? 0).u32(message.timeoutMs ?? STOP_DEFAULT);
      break;
    case 'signal':
      w.u32(message.signal);
      break;
    case 'restartPolicy':
      w.u8(RESTART[message.policy.name]).u32(message.policy.maximumRetryCount);
      break;
    case 'eventAttributes':
      w.str(JSON.stringify(message.attributes));
      break;
    default:
      break;
  }
  return encodeFrame(STREAM.control, w.finish());
}

/** Decodes the payload of a control frame from the monitor; undefined for one of a later version. */
export function decodeKeeperMessage(payload: Buffer): KeeperMessage | undefined {
  switch (payload[0]) {
    case 1:
      return {
        type: 'hello',
        version: payload.readUInt32LE(1),
        tty: payload[5] === 1,
        openStdin: payload[6] === 1,
        restarting: payload[7] === 1,
        pid: payload.readUInt32LE(8),
      };
    case 2:
      return {
        type: 'exit',
        exitCode: payload.readUInt32LE(1),
        signal: payload.readUInt32LE(5),
        oomKilled: payload[9] === 1,
        restarting: payload[10] === 1,
      };
    case 3:
      return { type: 'ack', request: payload.readUInt32LE(1), errno: payload.readUInt32LE(5) };
    default:
      return undefined;
  }
}

/**
 * Cuts a byte stream into frames. Payloads are views of the chunks they came in where that is possible; stdout and
 * stderr are handed on as they arrive, also before a frame is complete.
 */
export class FrameDecoder {
  readonly #onData: (stream: 1 | 2, data: Buffer) => void;
  readonly #onControl: (payload: Buffer) => void;
  #head = Buffer.alloc(8);
  #headUsed = 0;
  #stream = 0;
  #left = 0;
  #control: Buffer[] = [];

  constructor(handlers: {
    data: (stream: 1 | 2, data: Buffer) => void;
    control: (payload: Buffer) => void;
  }) {
    this.#onData = handlers.data;
    this.#onControl = handlers.control;
  }

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#headUsed < 8) {
        const take = Math.min(8 - this.#headUsed, chunk.length - at);
        chunk.copy(this.#head, this.#headUsed, at, at + take);
        this.#headUsed += take;
        at += take;
        if (this.#headUsed < 8) return;
        this.#stream = this.#head[0]!;
        this.#left = this.#head.readUInt32BE(4);
        if (this.#left === 0) this.#end();
        continue;
      }
      const take = Math.min(this.#left, chunk.length - at);
      const part = chunk.subarray(at, at + take);
      at += take;
      this.#left -= take;
      if (this.#stream === STREAM.control) this.#control.push(part);
      else if (this.#stream === STREAM.stdout || this.#stream === STREAM.stderr)
        this.#onData(this.#stream, part);
      if (this.#left === 0) this.#end();
    }
  }

  #end(): void {
    this.#headUsed = 0;
    if (this.#stream !== STREAM.control) return;
    const payload = this.#control.length === 1 ? this.#control[0]! : Buffer.concat(this.#control);
    this.#control = [];
    this.#onControl(payload);
  }
}
