/**
 * The command line's door: the only file of src/cli that touches `process`. Kept small, because `nsbox --version`
 * evaluates it, cli.ts, flags.ts and registry.ts and nothing else.
 */
import { fstatSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { isErrno, leave } from '../base/index.js';
import { runCli } from './cli.js';
import type { Io } from './io.js';
import { DescriptorSink } from './sink.js';

/** Inherited standard streams as an Io. process.stdin/stdout are opened when first used: they cost milliseconds. */
function processIo(): { io: Io; flush: () => Promise<void>; streams: () => boolean } {
  /** Standard output and error as streams, once something asked for them. */
  const used = new Map<1 | 2, NodeJS.WriteStream>();
  const sinks = new Map<1 | 2, DescriptorSink>();
  let input = false;
  const stream = (fd: 1 | 2): NodeJS.WriteStream => {
    const s = fd === 1 ? process.stdout : process.stderr;
    used.set(fd, s);
    return s;
  };
  const write = (fd: 1 | 2, text: string): void => {
    const open = used.get(fd);
    if (open) return void open.write(text);
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; ) {
      try {
        at += writeSync(fd, bytes, at);
      } catch (error) {
        if (isErrno(error, 'EPIPE')) process.exit(141); // the reader has gone: as SIGPIPE would end us
        if (!isErrno(error, 'EAGAIN')) throw error;
        // A non-blocking pipe that is full: leave the rest, in order, to the stream.
        return void stream(fd).write(bytes.subarray(at));
      }
    }
  };
  const io: Io = {
    out: (text) => write(1, text),
    err: (text) => write(2, text),
    get stdin() {
      input = true;
      return process.stdin;
    },
    get stdout() {
      return stream(1);
    },
    get stderr() {
      return stream(2);
    },
    sink(fd) {
      const sink = sinks.get(fd) ?? new DescriptorSink(fd, () => stream(fd));
      sinks.set(fd, sink);
      return sink;
    },
    tty: {
      get stdin() {
        return isTerminal(0);
      },
      get stdout() {
        return isTerminal(1);
      },
      get stderr() {
        return isTerminal(2);
      },
    },
    onSignal(signals, handler) {
      for (const signal of signals) process.on(signal, handler);
      return () => {
        for (const signal of signals) process.off(signal, handler);
      };
    },
    euid: process.geteuid?.() ?? 0,
  };
  const flush = async (): Promise<void> => {
    for (const s of used.values()) {
      if (s.writableLength > 0) await new Promise((done) => s.write('', done));
    }
  };
  return { io, flush, streams: () => input || used.size > 0 };
}

/** isatty(3) without loading node:tty where the fd isn't even a character device. */
function isTerminal(fd: number): boolean {
  try {
    if (!fstatSync(fd).isCharacterDevice()) return false;
  } catch {
    return false;
  }
  const tty = createRequire('/')('node:tty') as typeof import('node:tty');
  return tty.isatty(fd);
}

/** The caller's environment: bin/nsbox hides NODE_EXTRA_CA_CERTS from Node's start and hands its value on. */
function callerEnvironment(): Record<string, string | undefined> {
  const { NSBOX_NODE_EXTRA_CA_CERTS: handedOn, ...env } = process.env;
  return handedOn === undefined ? env : { ...env, NODE_EXTRA_CA_CERTS: handedOn };
}

async function main(): Promise<void> {
  const { io, flush, streams } = processIo();
  const code = await runCli(process.argv.slice(2), io, { env: callerEnvironment(), cwd: process.cwd() });
  await flush();
  // Whatever still holds the event loop (a terminal in raw mode, a half-read pipe) must not keep us.
  leave(process, code, streams());
}

void main();
