import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { ConflictError, fromErrno, InvalidError, isErrno, NotFoundError } from '../base/index.js';
import { type Groups, isFrozen, type ScopeName } from '../cgroup/index.js';
import { isAlive, type ProcessIdentity, processStat } from '../kernel/index.js';
import type { Spec, SpecHooks } from '../spec/index.js';
import { readRecord, writeRecord } from '../state/index.js';
import type { RdtGroup } from './rdt.js';
import { ownStdio } from './stdio.js';

/**
 * On disk, per container, below the runtime's root:
 *
 *   <id>/state.json   this record, replaced by rename
 *   <id>/config.json  the spec it was made of (the bundle may change or go)
 *   <id>/start.sock   init listens here from create until start, which renames it to `starting.sock`
 *
 * Nothing of it outlives a boot, so nothing is synced. What a kill -9 leaves at any instant, `delete --force` removes:
 * the cgroup is in the record before anything is made in it.
 */
export interface OciRecord {
  version: 1;
  id: string;
  ociVersion: string;
  bundle: string;
  rootfs: string;
  /** RFC 3339, UTC. */
  created: string;
  annotations?: Record<string, string> | undefined;
  /** Who creates it; while it lives and there is no init, the container is "creating". */
  creator: ProcessIdentity;
  /** The container's first process, in the caller's pid namespace. */
  init?: ProcessIdentity | undefined;
  /** Groups made for it. */
  groups: Groups;
  /** Its path below the root of the hierarchies; absent with --cgroup-manager disabled. */
  cgroup?: string | undefined;
  /** Its unit, with the systemd manager. */
  scope?: ScopeName | undefined;
  /** The container has a pid namespace of its own: its processes die with init. */
  ownPid: boolean;
  hooks?: SpecHooks | undefined;
  /** What 0, 1, 2 were at its start (`pipe:[…]`, a path): a restored process gets those of `restore` instead. */
  stdio?: string[] | undefined;
  /** Its groups of the resctrl filesystem (intelRdt). */
  rdt?: RdtGroup | undefined;
}

/** The record of a container that this process is about to make; no groups are in it yet. */
export function newRecord(id: string, bundle: string, rootfs: string, spec: Spec): OciRecord {
  return {
    version: 1,
    id,
    ociVersion: spec.ociVersion,
    bundle,
    rootfs,
    created: new Date().toISOString(),
    annotations: spec.annotations,
    creator: self(),
    groups: { unified: null, v1: {} },
    ownPid: (spec.linux?.namespaces ?? []).some((n) => n.type === 'pid' && !n.path),
    hooks: spec.hooks,
    stdio: ownStdio(),
  };
}

/** The version of runtime-spec that state documents comply with. */
export const STATE_VERSION = '1.3.0';

export type OciStatus = 'creating' | 'created' | 'running' | 'paused' | 'stopped';

const ID = /^[\w+.-]+$/;

/** @throws InvalidError for an id that could lead out of the root, or that other runtimes refuse */
export function checkId(id: string): void {
  if (!ID.test(id) || id === '.' || id === '..' || id.length > 1024) {
    throw new InvalidError(`invalid container ID format: ${JSON.stringify(id)}`, {
      hint: 'letters, digits, and the characters _ + - .',
    });
  }
}

/** The container's directory. */
export function directoryOf(root: string, id: string): string {
  checkId(id);
  return path.join(root, id);
}

/**
 * Takes the id by making its directory: mkdir is atomic, so of two that ask one gets it.
 * @throws ConflictError where it is in use
 */
export function claim(root: string, id: string): string {
  const directory = directoryOf(root, id);
  try {
    mkdirSync(root, { recursive: true, mode: 0o700 });
    mkdirSync(directory, { mode: 0o711 });
  } catch (error) {
    if (isErrno(error, 'EEXIST')) {
      throw new ConflictError(`container with given ID already exists: ${id}`, {
        hint: 'choose another id, or remove that container: nsbox-oci delete',
      });
    }
    throw fromErrno(`create ${directory}`, error, { path: directory });
  }
  return directory;
}

/** @throws NotFoundError with the words "does not exist", which callers look for */
export function load(root: string, id: string): OciRecord {
  const record = readRecord<OciRecord>(path.join(directoryOf(root, id), 'state.json'));
  if (!record) throw new MissingContainer(id);
  return record;
}

/** No such container. */
class MissingContainer extends NotFoundError {
  constructor(id: string) {
    super('container', id);
    this.message = `container ${id}: container does not exist`;
  }
}

export function save(root: string, record: OciRecord): void {
  writeRecord(path.join(directoryOf(root, record.id), 'state.json'), record, { durable: false });
}

/** What tells this process from others. */
function self(): ProcessIdentity {
  return { pid: process.pid, startTicks: processStat(process.pid)?.startTicks ?? '' };
}

export function statusOf(root: string, record: OciRecord): OciStatus {
  if (!record.init) return isAlive(record.creator) ? 'creating' : 'stopped';
  if (!isAlive(record.init)) return 'stopped';
  if (isFrozen(record.groups)) return 'paused';
  return existsSync(path.join(root, record.id, 'start.sock')) ? 'created' : 'running';
}

/** Ids below the root, in order. */
export function listIds(root: string): string[] {
  return readdirSync(root, { withFileTypes: true })
    .filter((e) => e.isDirectory() && ID.test(e.name))
    .map((e) => e.name)
    .sort();
}

/** Removes the container's directory; gone already is fine. */
export function forget(root: string, id: string): void {
  const directory = directoryOf(root, id);
  try {
    rmSync(directory, { recursive: true, force: true });
  } catch (error) {
    throw fromErrno(`remove ${directory}`, error, { path: directory });
  }
}

/** The standard's state document, as hooks get it on stdin. */
export function stateDocument(record: OciRecord, status: string, pid: number): Record<string, unknown> {
  return {
    ociVersion: STATE_VERSION,
    id: record.id,
    status,
    ...(pid > 0 ? { pid } : {}),
    bundle: record.bundle,
    ...(record.annotations && Object.keys(record.annotations).length > 0
      ? { annotations: record.annotations }
      : {}),
  };
}
