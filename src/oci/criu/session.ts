import { closeSync, existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fromErrno, NotFoundError, NsboxError, UnsupportedError } from '../../base/index.js';
import { openChannel, seqpacketPair } from '../../kernel/index.js';
import type { Runtime } from '../runtime.js';
import { type CriuRequest, type CriuResponse, decodeResponse, encodeRequest, REQUEST } from './message.js';

/** What criu tells in the middle of a request; it goes on when the promise is fulfilled, and gives up when it fails. */
export type Notified = (script: string, pid: number, fds: readonly number[]) => Promise<void>;

/** One criu that serves one request, over a socket it was started with (`criu swrk FD`). */
export interface CriuSession {
  /** For the process that becomes criu; closed by `started`. */
  readonly theirs: number;
  /** criu runs and has its end of the socket. */
  started(): void;
  /**
   * Sends a request, and hands on what criu tells until it answers.
   * @throws NsboxError where criu ends before it answers, or a notification's work fails
   */
  ask(request: CriuRequest, notified?: Notified): Promise<CriuResponse>;
  close(): void;
}

/** The socket of a session. The program is started by the caller: it decides in which groups and namespaces. */
export function openSession(): CriuSession {
  const [ours, theirs] = seqpacketPair();
  let theirsOpen = true;
  const queue: { data: Buffer | null; fds: number[] }[] = [];
  let wake: (() => void) | undefined;
  const channel = openChannel(ours, (data, fds) => {
    queue.push({ data, fds });
    wake?.();
  });
  const next = async () => {
    while (queue.length === 0) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    return queue.shift()!;
  };
  const closeTheirs = () => {
    if (theirsOpen) closeSync(theirs);
    theirsOpen = false;
  };
  return {
    theirs,
    started: closeTheirs,
    close: () => {
      closeTheirs();
      channel.close();
      for (const { fds } of queue.splice(0)) for (const fd of fds) closeSync(fd);
    },
    ask: async (request, notified) => {
      channel.send(encodeRequest(request));
      for (;;) {
        const { data, fds } = await next();
        try {
          if (data === null) {
            throw new NsboxError(
              'LAUNCH_FAILED',
              `criu ended before it had answered the ${request.type} request`,
            );
          }
          const response = decodeResponse(data);
          if (!response.notify || response.type !== REQUEST.notify) return response;
          try {
            await notified?.(response.notify.script, response.notify.pid, fds);
          } catch (error) {
            channel.send(encodeRequest({ type: 'notify', notifySuccess: false }));
            throw error;
          }
          channel.send(encodeRequest({ type: 'notify', notifySuccess: true }));
        } finally {
          for (const fd of fds) closeSync(fd);
        }
      }
    },
  };
}

/**
 * The criu to use: `--criu`, else the one on PATH.
 * @throws NotFoundError where there is none
 */
export function findCriu(runtime: Runtime): string {
  const given = runtime.criu || 'criu';
  if (given.includes('/')) {
    const file = path.resolve(runtime.ctx.cwd, given);
    if (existsSync(file)) return file;
  } else {
    const places = (runtime.ctx.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin').split(':');
    for (const place of [...places, '/usr/sbin', '/sbin']) {
      if (place && existsSync(path.join(place, given))) return path.join(place, given);
    }
  }
  const error = new NotFoundError('path', given, {
    hint: 'install it (apt-get install criu), or name it with --criu PATH',
  });
  error.message = `checkpoint and restore need criu: "${given}": executable file not found in $PATH`;
  throw error;
}

/** criu as a child of ours: for everything but restore, which needs a place of its own. */
export async function spawnCriu(file: string): Promise<CriuSession & { ended: Promise<void> }> {
  const { spawn } = await import('node:child_process');
  const session = openSession();
  const child = spawn(file, ['swrk', '3'], { stdio: ['ignore', 'ignore', 'ignore', session.theirs] });
  let failed: Error | undefined;
  const ended = new Promise<void>((resolve) => {
    child.on('exit', () => resolve());
    child.on('error', (error) => {
      failed = error;
      resolve();
    });
  });
  session.started();
  return {
    ...session,
    ended,
    ask: async (request, notified) => {
      try {
        return await session.ask(request, notified);
      } catch (error) {
        if (failed) throw fromErrno(`run ${file}`, failed, { path: file });
        throw error;
      }
    },
  };
}

/** criu 3.0 is the first that tells its version by RPC. */
const LEAST = 30000;

/**
 * Asks criu for its version, and for features where the request needs some.
 * @returns the version as major * 10000 + minor * 100 + patch
 * @throws UnsupportedError where criu is too old, or it or the kernel lacks a feature
 */
export async function checkCriu(
  file: string,
  needs: { memTrack?: boolean; lazyPages?: boolean } = {},
): Promise<number> {
  const version = (await once(file, { type: 'version' })).version ?? 0;
  if (version < LEAST) {
    throw new UnsupportedError(`CRIU version ${version} must be ${LEAST} or higher`, { path: file });
  }
  if (needs.memTrack || needs.lazyPages) {
    const response = await once(file, { type: 'featureCheck', features: needs });
    const missing = [
      ...(needs.memTrack && !response.features?.memTrack ? ['MemTrack'] : []),
      ...(needs.lazyPages && !response.features?.lazyPages ? ['LazyPages'] : []),
    ];
    if (missing.length > 0) {
      throw new UnsupportedError(`criu is missing features: ${missing.join(', ')}`, {
        hint: `\`${file} check --all\` says what this kernel lacks`,
      });
    }
  }
  return version;
}

async function once(file: string, request: CriuRequest): Promise<CriuResponse> {
  const session = await spawnCriu(file);
  try {
    return await session.ask(request);
  } finally {
    session.close();
    await session.ended;
  }
}

/** The line with which criu says that it gives up comes after the one that says why. */
const FINAL = /(Dumping|Restoring|Pre-dumping) FAILED/;
/** What criu finds out about its own rights and devices at every start; no request fails of it. */
const HARMLESS = /rlimit: Can't setup RLIMIT_NOFILE|tun: Unable to create tun/;

/**
 * The error for a request that criu refused: the last errors of its log, and where the log is.
 * @param log path of the log file
 */
export function refused(what: string, response: CriuResponse | undefined, log: string): NsboxError {
  const errors = lastErrors(log);
  const why = errors.length > 0 ? errors.join('; ') : response?.message || `errno ${response?.errno ?? 0}`;
  return new NsboxError('LAUNCH_FAILED', `criu failed: type ${what}: ${why}`, {
    path: log,
    hint: existsSync(log) ? `log file: ${log}` : `there is no log file ${log}`,
  });
}

function lastErrors(log: string): string[] {
  let text: string;
  try {
    text = readFileSync(log, 'utf8');
  } catch {
    return [];
  }
  return text
    .split('\n')
    .filter((line) => /\bError \(/.test(line) && !FINAL.test(line) && !HARMLESS.test(line))
    .slice(-3)
    .map((line) =>
      line
        .replace(/^\([\d.]+\)\s*/, '')
        .replace(/^\d+: /, '')
        .trim(),
    );
}
