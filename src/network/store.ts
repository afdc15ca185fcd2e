import { linkSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import {
  ConflictError,
  type Context,
  createHash,
  fromErrno,
  InvalidError,
  isErrno,
  NotFoundError,
  randomBytes,
} from '../base/index.js';
import { acquireLock, ensureDirectory, type FileLock, readRecord, writeRecord } from '../state/index.js';
import { kernelNames, networksDirectory } from './paths.js';
import type { NetworkRecord } from './types.js';

/** Records of networks: one file each, named after the network. */

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

export function checkName(name: string): void {
  if (!NAME.test(name) || name.length > 200) {
    throw new InvalidError(
      `invalid network name ${JSON.stringify(name)}: only [a-zA-Z0-9][a-zA-Z0-9_.-]* are allowed`,
    );
  }
}

/** `host` and `none` need no record: they are the same everywhere. */
function builtin(name: 'host' | 'none'): NetworkRecord {
  return {
    version: 1,
    id: createHash('sha256').update(`nsbox network ${name}`).digest('hex'),
    name,
    driver: name,
    created: '1970-01-01T00:00:00.000Z',
    subnets: [],
    ipv6: false,
    internal: false,
    options: {},
    labels: {},
    dns: [],
    peers: [],
    device: '',
    builtin: true,
  };
}

/** The default bridge before it has a subnet. */
export function defaultBridge(ctx: Context): NetworkRecord {
  return {
    ...builtin('host'),
    id: randomBytes(32).toString('hex'),
    name: 'bridge',
    driver: 'bridge',
    created: new Date().toISOString(),
    device: kernelNames(ctx).bridge,
  };
}

const fileOf = (ctx: Context, name: string) => path.join(networksDirectory(ctx), `${name}.json`);

/** Held while networks are made or removed, so that no two get one subnet. */
export function lockNetworks(ctx: Context): Promise<FileLock> {
  return acquireLock(path.join(networksDirectory(ctx), '.lock'));
}

/** A network by its exact name; undefined where there is none. The default bridge has a record once it was used. */
export function readNetwork(ctx: Context, name: string): NetworkRecord | undefined {
  if (name === 'host' || name === 'none') return builtin(name);
  if (!NAME.test(name)) return undefined;
  return readRecord<NetworkRecord>(fileOf(ctx, name));
}

/** Every network, by name; built-in ones included. */
export function listNetworks(ctx: Context): NetworkRecord[] {
  let files: string[] = [];
  try {
    files = readdirSync(networksDirectory(ctx));
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw fromErrno('list networks', error);
  }
  const found = files
    .filter((f) => f.endsWith('.json'))
    .flatMap((f) => readRecord<NetworkRecord>(path.join(networksDirectory(ctx), f)) ?? []);
  return [...found, builtin('host'), builtin('none')].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/**
 * A network by name, id or unique beginning of an id.
 * @throws NotFoundError; ConflictError where a prefix means several
 */
export function findNetwork(ctx: Context, reference: string): NetworkRecord {
  const exact = readNetwork(ctx, reference);
  if (exact) return exact;
  if (/^[0-9a-f]{1,64}$/.test(reference)) {
    const found = listNetworks(ctx).filter((n) => n.id.startsWith(reference));
    if (found.length > 1)
      throw new ConflictError(`network ${reference} is ambiguous: ${found.length} ids begin so`);
    if (found[0]) return found[0];
  }
  throw new NotFoundError('network', reference);
}

/** Writes a new network's record; the name must be free. @throws ConflictError */
export function addNetwork(ctx: Context, record: NetworkRecord): void {
  ensureDirectory(networksDirectory(ctx));
  const file = fileOf(ctx, record.name);
  const temporary = `${file}.new`;
  writeRecord(temporary, record);
  try {
    linkSync(temporary, file); // unlike rename(2), link(2) refuses an existing name
  } catch (error) {
    if (isErrno(error, 'EEXIST')) throw new ConflictError(`network with name ${record.name} already exists`);
    throw fromErrno(`create the network ${record.name}`, error, { path: file });
  } finally {
    rmSync(temporary, { force: true });
  }
}

export function replaceNetwork(ctx: Context, record: NetworkRecord): void {
  writeRecord(fileOf(ctx, record.name), record);
}

export function deleteNetwork(ctx: Context, name: string): void {
  rmSync(fileOf(ctx, name), { force: true });
}
