import path from 'node:path';
import { InvalidError, parseBytes, UnsupportedError } from '../../base/index.js';
import type { MountRequest } from '../../spec/index.js';
import { csvPairs, splitOnce } from './lists.js';

/** The grammars of `-v`, `--mount` and `--tmpfs`. */

const VOLUME_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;
const PROPAGATION = ['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave'] as const;
type Propagation = (typeof PROPAGATION)[number];
const isPropagation = (word: string): word is Propagation =>
  (PROPAGATION as readonly string[]).includes(word);
/** Meaningful on other systems than Linux only; Docker takes them too. */
const CONSISTENCY = ['consistent', 'cached', 'delegated', 'default'];

/** Refuses what can't be a mount point. */
function checkTarget(spec: string, target: string): string {
  if (!target.startsWith('/')) {
    throw new InvalidError(
      `invalid volume specification: '${spec}': the mount path must be absolute: '${target}'`,
    );
  }
  const clean = path.posix.normalize(target).replace(/(.)\/$/, '$1');
  if (clean === '/')
    throw new InvalidError(`invalid volume specification: '${spec}': destination can't be '/'`);
  return clean;
}

export function checkVolumeName(name: string): string {
  if (VOLUME_NAME.test(name)) return name;
  throw new InvalidError(
    `${JSON.stringify(name)} includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed`,
    { hint: 'if a directory of the host is meant, use an absolute path' },
  );
}

/**
 * `-v [SOURCE:]TARGET[:OPTIONS]`: a path (absolute, or beginning with `.`) is a bind mount, another word a named volume,
 * no source an anonymous volume.
 */
export function parseVolume(
  spec: string,
  around: { cwd: string; warn: (message: string) => void },
): MountRequest {
  const parts = spec.split(':');
  const wrong = (why: string) => new InvalidError(`invalid volume specification: '${spec}'${why}`);
  if (parts.length > 3 || parts.some((p) => p === '')) {
    throw wrong(parts.some((p) => p === '') ? ': an empty section between colons' : '');
  }
  if (parts.length === 1) {
    return { type: 'volume', target: checkTarget(spec, spec), readonly: false, createSource: true };
  }
  const [source, target, mode = ''] = parts as [string, string, string?];
  if (parts.length === 2 && source.startsWith('/') && !target.startsWith('/')) {
    throw wrong(`: '${target}' is not an absolute path (a mode needs SOURCE:TARGET:MODE)`);
  }
  const mount: MountRequest = {
    type: 'volume',
    target: checkTarget(spec, target),
    readonly: false,
    createSource: true,
  };
  if (source.startsWith('/')) Object.assign(mount, { type: 'bind', source: path.posix.normalize(source) });
  else if (/^\.\.?(\/|$)/.test(source))
    Object.assign(mount, { type: 'bind', source: path.resolve(around.cwd, source) });
  else mount.source = checkVolumeName(source);

  const seen = new Set<string>();
  for (const word of mode === '' ? [] : mode.split(',')) {
    const kind = word === 'ro' || word === 'rw' ? 'access' : isPropagation(word) ? 'propagation' : word;
    if (seen.has(kind)) throw wrong(`: invalid mode: ${mode}`);
    seen.add(kind);
    if (kind === 'access') mount.readonly = word === 'ro';
    else if (isPropagation(word)) {
      if (mount.type !== 'bind') throw wrong(`: ${word} is for bind mounts`);
      mount.propagation = word;
    } else if (word === 'nocopy') {
      if (mount.type !== 'volume') throw wrong(': nocopy is for volumes');
      mount.noCopy = true;
    } else if (word === 'z' || word === 'Z') {
      around.warn(`-v ${spec}: nothing is relabelled (nsbox has no SELinux support), ${word} has no effect`);
    } else if (!CONSISTENCY.includes(word)) throw wrong(`: invalid mode: ${word}`);
  }
  return mount;
}

/** `--mount type=bind,source=/a,target=/b,readonly`. */
export function parseMount(spec: string, cwd: string): MountRequest {
  const wrong = (why: string) => new InvalidError(`invalid argument "${spec}" for "--mount" flag: ${why}`);
  const mount: MountRequest = { type: 'volume', target: '', readonly: false, createSource: false };
  const only: [key: string, type: string][] = [];
  const flag = (key: string, value: string | undefined): boolean => {
    if (value === undefined || /^(1|true)$/i.test(value)) return true;
    if (/^(0|false)$/i.test(value)) return false;
    throw wrong(`invalid value for ${key}: ${value}`);
  };
  const needed = (key: string, value: string | undefined): string => {
    if (value === undefined || value === '') throw wrong(`invalid field '${key}' must be a key=value pair`);
    return value;
  };
  for (const [key, value] of csvPairs(spec)) {
    if (key.includes('-')) only.push([key, key.split('-')[0]!]);
    switch (key) {
      case 'type':
        if (value !== 'bind' && value !== 'volume' && value !== 'tmpfs') {
          throw wrong(`type must be bind, volume or tmpfs, not '${value ?? ''}'`);
        }
        mount.type = value;
        break;
      case 'source':
      case 'src':
        mount.source = needed(key, value);
        break;
      case 'target':
      case 'destination':
      case 'dst':
        mount.target = needed(key, value);
        break;
      case 'readonly':
      case 'ro':
        mount.readonly = flag(key, value);
        break;
      case 'rw':
        mount.readonly = !flag(key, value);
        break;
      case 'consistency':
        if (!CONSISTENCY.includes(needed(key, value))) throw wrong(`invalid consistency: ${value}`);
        break;
      case 'bind-propagation':
        if (!isPropagation(needed(key, value))) throw wrong(`invalid propagation: ${value}`);
        mount.propagation = value as Propagation;
        break;
      case 'bind-nonrecursive':
        mount.nonRecursive = flag(key, value);
        break;
      case 'bind-recursive':
        if (value === 'disabled') mount.nonRecursive = true;
        else if (value !== 'enabled' && value !== 'writable') {
          throw wrong(`invalid value for bind-recursive: ${value ?? ''} (enabled, disabled or writable)`);
        }
        break;
      case 'volume-nocopy':
        mount.noCopy = flag(key, value);
        break;
      case 'volume-label': {
        const [name, text] = splitOnce(needed(key, value), '=');
        mount.volumeLabels = { ...mount.volumeLabels, [name]: text ?? '' };
        break;
      }
      case 'volume-opt': {
        const [name, text] = splitOnce(needed(key, value), '=');
        if (text === undefined) throw wrong(`invalid volume-opt: ${value}`);
        mount.volumeDriverOptions = { ...mount.volumeDriverOptions, [name]: text };
        break;
      }
      case 'volume-driver':
        if (needed(key, value) !== 'local') throw wrong(`there is no volume driver '${value}' (only local)`);
        break;
      case 'tmpfs-size':
        mount.tmpfs = { ...mount.tmpfs, size: parseBytes(needed(key, value)) };
        break;
      case 'tmpfs-mode':
        if (!/^0?[0-7]{1,4}$/.test(needed(key, value))) throw wrong(`invalid tmpfs-mode: ${value} (octal)`);
        mount.tmpfs = { ...mount.tmpfs, mode: Number.parseInt(value!, 8) };
        break;
      case 'volume-subpath':
        throw new UnsupportedError('--mount: volume-subpath is not supported');
      default:
        throw wrong(`unexpected key '${key}'`);
    }
  }
  for (const [key, type] of only) {
    if (type !== mount.type) throw wrong(`cannot mix '${key}' with mount type '${mount.type}'`);
  }
  if (mount.target === '') throw wrong('target is required');
  mount.target = checkTarget(spec, mount.target);
  return finishMount(mount, cwd, wrong);
}

function finishMount(mount: MountRequest, cwd: string, wrong: (why: string) => Error): MountRequest {
  if (mount.type === 'bind') {
    if (!mount.source) throw wrong('source is required for a bind mount');
    if (!mount.source.startsWith('/') && !/^\.\.?(\/|$)/.test(mount.source)) {
      throw wrong(`invalid mount path: '${mount.source}' mount path must be absolute`);
    }
    mount.source = path.resolve(cwd, mount.source);
  } else if (mount.type === 'tmpfs') {
    if (mount.source) throw wrong('a tmpfs has no source');
  } else if (mount.source !== undefined) checkVolumeName(mount.source);
  return mount;
}

/** `--tmpfs /run:size=64m,mode=1777,noexec`. */
export function parseTmpfs(spec: string): MountRequest {
  const [target, text] = splitOnce(spec, ':');
  const tmpfs: NonNullable<MountRequest['tmpfs']> = {};
  const options: string[] = [];
  let readonly = false;
  for (const option of text ? text.split(',') : []) {
    const [key, value] = splitOnce(option, '=');
    if (key === 'size' && value !== undefined && !value.endsWith('%')) tmpfs.size = parseBytes(value);
    else if (key === 'mode' && value !== undefined) {
      if (!/^0?[0-7]{1,4}$/.test(value))
        throw new InvalidError(`--tmpfs ${spec}: invalid mode: ${value} (octal)`);
      tmpfs.mode = Number.parseInt(value, 8);
    } else if (key === 'ro' || key === 'rw') readonly = key === 'ro';
    else if (TMPFS_FLAGS.has(key) || (value !== undefined && TMPFS_VALUES.has(key))) options.push(option);
    else throw new InvalidError(`--tmpfs ${spec}: invalid tmpfs option: ${option}`);
  }
  if (options.length > 0) tmpfs.options = options;
  return { type: 'tmpfs', target: checkTarget(spec, target), readonly, createSource: false, tmpfs };
}

const TMPFS_FLAGS = new Set(
  'exec noexec suid nosuid dev nodev sync async dirsync atime noatime diratime nodiratime relatime norelatime strictatime'.split(
    ' ',
  ),
);
const TMPFS_VALUES = new Set(['size', 'nr_blocks', 'nr_inodes', 'mode', 'uid', 'gid', 'huge', 'mpol']);
