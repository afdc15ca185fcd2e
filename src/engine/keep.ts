import { type Context, InvalidError, signalNumber } from '../base/index.js';
import { encodeKeepConfig, type KeepLog, STOP_WITHOUT_END } from '../kernel/index.js';
import type { ImageConfig } from '../spec/index.js';
import { eventAttributes } from './emit.js';
import { containerPaths, eventsFile } from './paths.js';
import type { ContainerRecord } from './records.js';

/** Logs are rotated unless told otherwise: nobody's disk fills up because of a chatty program. */
const DEFAULT_MAX_SIZE = 10_000_000;
const DEFAULT_MAX_FILES = 3;

/**
 * What the monitor is told about keeping a container.
 * @throws InvalidError for a log option that makes no sense
 */
export function keepConfig(
  ctx: Context,
  record: ContainerRecord,
  image: ImageConfig | undefined,
  given: { oomFiles: string[]; foreground: boolean },
): Uint8Array {
  const { request } = record;
  const paths = containerPaths(ctx, record.id);
  const timeout = request.stopTimeout ?? 10;
  return encodeKeepConfig({
    id: record.id,
    stateDir: paths.state,
    dataDir: paths.data,
    eventsFile: eventsFile(ctx),
    event: {
      from: record.image?.reference ?? '',
      attributes: eventAttributes(record),
    },
    log: logConfig(request.log, request.labels, request.env),
    tty: request.tty,
    openStdin: request.interactive,
    stdinOnce: request.interactive && given.foreground,
    restart: request.restart,
    stopSignal: signalNumber(request.stopSignal ?? image?.config?.StopSignal ?? 'SIGTERM'),
    stopTimeoutMs: timeout < 0 ? STOP_WITHOUT_END : Math.round(timeout * 1000),
    dieWithRuntime: false,
    autoRemove: request.autoRemove,
    oomFiles: given.oomFiles,
  });
}

/** `--log-driver` and `--log-opt` as the monitor takes them; `local` is json-file under another name. */
export function logConfig(
  log: ContainerRecord['request']['log'],
  labels: Record<string, string>,
  env: readonly string[],
): KeepLog {
  if (log.driver === 'none') return { driver: 'none' };
  const files = log.options['max-file'];
  const maxFiles = files === undefined ? DEFAULT_MAX_FILES : Number(files);
  if (!Number.isInteger(maxFiles) || maxFiles < 1 || maxFiles > 1000) {
    throw new InvalidError(`invalid log opt max-file=${files}: expected a number of files, at least 1`);
  }
  const size = log.options['max-size'];
  const attributes: Record<string, string> = {};
  for (const key of words(log.options['labels'])) {
    const value = labels[key];
    if (value !== undefined) attributes[key] = value;
  }
  for (const key of words(log.options['env'])) {
    const entry = env.findLast((e) => e.startsWith(`${key}=`));
    if (entry !== undefined) attributes[key] = entry.slice(key.length + 1);
  }
  const tag = log.options['tag'];
  if (tag) attributes['tag'] = tag;
  return {
    driver: 'json-file',
    maxSize: size === undefined ? DEFAULT_MAX_SIZE : bytes(size),
    maxFiles,
    attributes,
  };
}

function words(list: string | undefined): string[] {
  return (list ?? '').split(',').filter(Boolean);
}

/** `10m`, `1.5g`, `-1` (no limit): as Docker's log options, in powers of 1000. */
function bytes(text: string): number {
  if (text === '-1') return 0;
  const match = /^(\d+(?:\.\d+)?)\s?([kmg])?b?$/i.exec(text);
  if (!match) throw new InvalidError(`invalid log opt max-size=${text}: expected a size such as 10m`);
  const power = { k: 1, m: 2, g: 3 }[(match[2] ?? '').toLowerCase() as 'k' | 'm' | 'g'] ?? 0;
  return Math.floor(Number(match[1]) * 1000 ** power);
}
