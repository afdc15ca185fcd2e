import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fromErrno, InvalidError, isErrno, type NsboxError, UnsupportedError } from '../base/index.js';
import type { SpecLinux } from '../spec/index.js';

type SpecIntelRdt = NonNullable<SpecLinux['intelRdt']>;

/** What a container has of resctrl, as its record keeps it. */
export interface RdtGroup {
  /** Where the filesystem is mounted. */
  root: string;
  /** Its class of service: a directory of the resctrl filesystem. */
  path: string;
  /** The class is the container's own, and goes with it. */
  own: boolean;
  /** Its monitoring group; absent without one. */
  monitor?: string | undefined;
}

/**
 * Where the resctrl filesystem is mounted; undefined where it isn't.
 * @param mountinfo content of /proc/self/mountinfo
 * @see https://docs.kernel.org/filesystems/resctrl.html
 */
export function resctrlRoot(mountinfo = readFileSync('/proc/self/mountinfo', 'utf8')): string | undefined {
  const found = mountinfo.split('\n').find((line) => / - resctrl /.test(line));
  return found?.split(' ')[4];
}

/**
 * Judges `linux.intelRdt` against what the processor has, in runc's words.
 * @throws InvalidError, UnsupportedError
 */
export function checkRdt(rdt: SpecIntelRdt, root: string | undefined): void {
  const { closID } = rdt;
  if (closID === '.' || closID === '..' || closID?.includes('/')) {
    throw new InvalidError(`invalid intelRdt.ClosID ${JSON.stringify(closID)}`, {
      code: 'INVALID_SPEC',
      path: 'linux.intelRdt.closID',
    });
  }
  if (root === undefined) {
    throw new UnsupportedError('intelRdt is specified in config, but Intel RDT is not enabled', {
      path: 'linux.intelRdt',
      hint: 'no resctrl filesystem is mounted: mount -t resctrl resctrl /sys/fs/resctrl, on a processor that has it',
    });
  }
  const need = (field: string, feature: string, directory: string) => {
    if (existsSync(path.join(root, 'info', directory))) return;
    throw new UnsupportedError(
      `intelRdt.${field} is specified in config, but Intel RDT/${feature} is not enabled`,
      { path: `linux.intelRdt.${field}` },
    );
  };
  if (rdt.l3CacheSchema) need('l3CacheSchema', 'CAT', 'L3');
  if (rdt.memBwSchema) need('memBwSchema', 'MBA', 'MB');
  if (rdt.enableMonitoring) need('enableMonitoring', 'CMT and MBM', 'L3_MON');
}

/**
 * The groups that a container will have, to be on record before they are made; undefined where nothing is asked for.
 * @throws as checkRdt does
 */
export function prepareRdt(rdt: SpecIntelRdt, id: string, root = resctrlRoot()): RdtGroup | undefined {
  if (root === undefined && Object.keys(rdt).length === 0) return undefined;
  checkRdt(rdt, root);
  const group = path.join(root!, rdt.closID || id);
  return {
    root: root!,
    path: group,
    own: !rdt.closID && !existsSync(group),
    ...(rdt.enableMonitoring ? { monitor: path.join(group, 'mon_groups', id) } : {}),
  };
}

/**
 * Makes the groups, sets the schemata, and puts a process with all it starts into them.
 * @throws NsboxError with the kernel's own words (info/last_cmd_status) where it refuses
 */
export function applyRdt(rdt: SpecIntelRdt, group: RdtGroup, pid: number): void {
  const { root } = group;
  const text = schemata(rdt);
  if (rdt.closID && text === '' && !existsSync(group.path)) {
    throw new InvalidError(
      'clos dir not accessible (must be pre-created when schemata, l3CacheSchema and memBwSchema are empty): ' +
        `stat ${group.path}: no such file or directory`,
      { code: 'INVALID_SPEC', path: 'linux.intelRdt.closID' },
    );
  }
  makeGroup(root, group.path);
  if (text !== '') writeRdt(root, path.join(group.path, 'schemata'), text);
  writeRdt(root, path.join(group.path, 'tasks'), String(pid));
  if (group.monitor) {
    makeGroup(root, group.monitor);
    writeRdt(root, path.join(group.monitor, 'tasks'), String(pid));
  }
}

/**
 * Other schemata for a container that runs.
 * @returns false where it has no group
 * @throws as checkRdt and applyRdt do
 */
export function updateSchemata(rdt: SpecIntelRdt, group: RdtGroup | undefined): boolean {
  checkRdt(rdt, group?.root ?? resctrlRoot());
  if (!group) return false;
  writeRdt(group.root, path.join(group.path, 'schemata'), schemata(rdt));
  return true;
}

/** Removes what was made for the container; a class that was named by closID stays: it is others' too. */
export function removeRdt(group: RdtGroup): void {
  const directory = group.own ? group.path : group.monitor;
  if (directory === undefined) return;
  try {
    rmdirSync(directory);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw fromErrno(`remove ${directory}`, error, { path: directory });
  }
}

/** One line each, as the file takes them. */
function schemata(rdt: SpecIntelRdt): string {
  return [rdt.l3CacheSchema, rdt.memBwSchema, ...(rdt.schemata ?? [])]
    .filter(Boolean)
    .map((line) => `${line}\n`)
    .join('');
}

function makeGroup(root: string, directory: string): void {
  try {
    mkdirSync(directory, { mode: 0o755 });
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw refused(root, `make ${directory}`, error, directory);
  }
}

function writeRdt(root: string, file: string, text: string): void {
  try {
    writeFileSync(file, text, { flag: 'w' });
  } catch (error) {
    throw refused(root, `intelrdt: write ${JSON.stringify(text)} to ${file}`, error, file);
  }
}

function refused(root: string, what: string, error: unknown, file: string): NsboxError {
  let status = '';
  try {
    status = readFileSync(path.join(root, 'info/last_cmd_status'), 'utf8').trim();
  } catch {
    // Kernels before 4.17 have no such file.
  }
  return fromErrno(what, error, { path: file, ...(status ? { hint: `last_cmd_status: ${status}` } : {}) });
}
