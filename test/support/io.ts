import { PassThrough } from 'node:stream';
import { streamSink } from '../../src/base/index.js';
import type { Io } from '../../src/cli/io.js';

/** An Io that keeps what is written, for commands called in the test's own process. */
export interface TestIo extends Io {
  text(): string;
  errors(): string;
}

export function testIo(options: { input?: string; euid?: number } = {}): TestIo {
  const out: string[] = [];
  const err: string[] = [];
  const stdin = new PassThrough();
  stdin.end(options.input ?? '');
  const stdout = new PassThrough();
  const stderr = new PassThrough();
  stdout.on('data', (chunk) => out.push(String(chunk)));
  stderr.on('data', (chunk) => err.push(String(chunk)));
  return {
    out: (text) => void out.push(text),
    err: (text) => void err.push(text),
    stdin,
    stdout,
    stderr,
    sink: (fd) => streamSink(fd === 1 ? stdout : stderr),
    tty: { stdin: false, stdout: false, stderr: false },
    onSignal: () => () => {},
    euid: options.euid ?? 0,
    text: () => out.join(''),
    errors: () => err.join(''),
  };
}
