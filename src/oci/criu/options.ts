import { mkdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { fromErrno, InvalidError } from '../../base/index.js';
import type { Flag, Parsed } from '../arguments.js';
import { CGROUP_MODES } from './message.js';

/** What checkpoint and restore are both told. */
export interface CheckpointOptions {
  imagePath: string;
  workPath: string | undefined;
  parentPath: string | undefined;
  leaveRunning: boolean;
  tcpEstablished: boolean;
  tcpSkipInFlight: boolean;
  linkRemap: boolean;
  extUnixSk: boolean;
  shellJob: boolean;
  lazyPages: boolean;
  statusFd: number | undefined;
  pageServer: { address: string; port: number } | undefined;
  fileLocks: boolean;
  preDump: boolean;
  manageCgroupsMode: number;
  autoDedup: boolean;
  lsmProfile: string | undefined;
  lsmMountContext: string | undefined;
}

/** Flags that both commands have. */
export const SHARED_FLAGS: Flag[] = [
  { name: 'image-path', kind: 'text' },
  { name: 'work-path', kind: 'text' },
  { name: 'tcp-established', kind: 'switch' },
  { name: 'ext-unix-sk', kind: 'switch' },
  { name: 'shell-job', kind: 'switch' },
  { name: 'lazy-pages', kind: 'switch' },
  { name: 'file-locks', kind: 'switch' },
  { name: 'manage-cgroups-mode', kind: 'text' },
  { name: 'empty-ns', kind: 'list' },
  { name: 'auto-dedup', kind: 'switch' },
];

/**
 * Reads the flags in runc's meaning, and makes the directory of the images.
 * @param cwd where relative paths begin; without --image-path they are in `checkpoint` below it
 * @throws InvalidError in runc's words
 */
export function checkpointOptions(args: Parsed, cwd: string): CheckpointOptions {
  const on = (name: string) => args.switches[name] ?? false;
  const imagePath = path.resolve(cwd, args.texts['image-path'] || 'checkpoint');
  const mode = CGROUP_MODES[args.texts['manage-cgroups-mode'] ?? ''];
  if (mode === undefined) {
    throw new InvalidError('invalid manage-cgroups-mode value', { hint: 'soft, full, strict or ignore' });
  }
  for (const kind of args.lists['empty-ns'] ?? []) {
    if (kind !== 'network') {
      throw new InvalidError(`namespace ${JSON.stringify(kind)} is not supported`, {
        hint: '--empty-ns takes network',
      });
    }
  }
  ensureDirectory(imagePath);
  const workPath = args.texts['work-path'] ? path.resolve(cwd, args.texts['work-path']) : undefined;
  if (workPath) ensureDirectory(workPath);
  return {
    imagePath,
    workPath,
    parentPath: parentPath(imagePath, args.texts['parent-path']),
    leaveRunning: on('leave-running'),
    tcpEstablished: on('tcp-established'),
    tcpSkipInFlight: on('tcp-skip-in-flight'),
    linkRemap: on('link-remap'),
    extUnixSk: on('ext-unix-sk'),
    shellJob: on('shell-job'),
    lazyPages: on('lazy-pages'),
    statusFd: args.numbers['status-fd'],
    pageServer: pageServer(args.texts['page-server']),
    fileLocks: on('file-locks'),
    preDump: on('pre-dump'),
    manageCgroupsMode: mode,
    autoDedup: on('auto-dedup'),
    lsmProfile: args.texts['lsm-profile'] || undefined,
    lsmMountContext: args.texts['lsm-mount-context'] || undefined,
  };
}

/** Where the log of a request is: criu writes it to the work directory. */
export function logPath(options: CheckpointOptions, name: string): string {
  return path.join(options.workPath ?? options.imagePath, name);
}

function ensureDirectory(directory: string): void {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw fromErrno(`make ${directory}`, error, { path: directory });
  }
}

/** criu takes it as it is: relative to the images. */
function parentPath(imagePath: string, given: string | undefined): string | undefined {
  if (!given) return undefined;
  if (path.isAbsolute(given)) throw new InvalidError('--parent-path must be relative');
  const parent = path.join(imagePath, given);
  let directory: boolean;
  try {
    directory = statSync(parent).isDirectory();
  } catch (error) {
    throw fromErrno(`invalid --parent-path: ${parent}`, error, { path: parent });
  }
  if (!directory) throw new InvalidError(`invalid --parent-path: ${parent}: not a directory`);
  return given;
}

function pageServer(given: string | undefined): { address: string; port: number } | undefined {
  if (!given) return undefined;
  const match = /^(?:\[([^\]]+)\]|([^:]+)):(.+)$/.exec(given);
  if (!match) throw new InvalidError('Use --page-server ADDRESS:PORT to specify page server');
  const port = Number(match[3]);
  if (!/^\d+$/.test(match[3]!) || port > 65535) throw new InvalidError('Invalid port number');
  return { address: match[1] ?? match[2]!, port };
}
