import { appendFileSync, writeSync } from 'node:fs';

export type Level = 'debug' | 'info' | 'warning' | 'error';

/** Where the runtime's own messages go: `--log FILE` in `--log-format`, and errors to stderr as well. */
export interface Log {
  readonly file: string | undefined;
  readonly format: 'text' | 'json';
  readonly debug: boolean;
}

/**
 * Writes one message. Callers (podman, containerd's shim) read the file's last line of level error, so a message is
 * one line, in the fields that runc writes: level, msg, time.
 */
export function log(target: Log, level: Level, message: string): void {
  if (level === 'debug' && !target.debug) return;
  const time = new Date().toISOString().replace(/\.\d+Z$/, 'Z');
  const line =
    target.format === 'json'
      ? JSON.stringify({ level, msg: message, time })
      : `time=${JSON.stringify(time)} level=${level} msg=${JSON.stringify(message)}`;
  if (target.file) {
    try {
      appendFileSync(target.file, `${line}\n`);
    } catch {
      // The caller may have taken the log away; what it says is on stderr too.
    }
  }
  if (level === 'error') print(2, `nsbox-oci: ${message}\n`);
  else if (!target.file) print(2, `${line}\n`);
}

/**
 * Writes to stdout or stderr at once. process.stdout would make pipes of the caller non-blocking, which the
 * container shares; a reader that went away is no failure of ours.
 */
export function print(fd: 1 | 2, text: string): void {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; ) {
    try {
      at += writeSync(fd, bytes, at);
    } catch (error) {
      const { code } = error as { code?: string };
      if (code === 'EAGAIN') Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
      else return;
    }
  }
}
