import { readFileSync, readlinkSync, realpathSync, statSync } from 'node:fs';
import path from 'node:path';
import type { HostFacts } from '../../host/index.js';
import { ownGroupBinds, parseMountOptions } from '../../plan/index.js';
import type { Spec, SpecMount } from '../../spec/index.js';
import type { OciRecord } from '../containers.js';

/**
 * What of a container lies outside of it, and how criu is told: binds of the host's files, namespaces that others
 * made, pipes and files that its caller handed it as stdio.
 */

/** Name of the file, beside criu's images, with what 0, 1 and 2 were: a JSON array, as runc writes it. */
export const DESCRIPTORS = 'descriptors.json';

/** CLONE_NEWNET. Interfaces are the business of who made the network: they never come out of an image. */
export const EMPTY_NETWORK = 0x40000000;

/** The mounts of a spec that are the host's files. */
export function bindsOf(spec: Spec): SpecMount[] {
  return (spec.mounts ?? []).filter((m) => m.type === 'bind' || parseMountOptions(m.options ?? []).bind);
}

/** Without a cgroup namespace a container's cgroup mounts are binds of its groups: they are the host's too. */
export function groupBindsOf(
  spec: Spec,
  record: OciRecord,
  facts: HostFacts['cgroup'],
): { source: string; target: string }[] {
  if (facts.mode === 'none' || spec.linux?.namespaces?.some((n) => n.type === 'cgroup' && !n.path)) return [];
  const groups = { into: record.groups.unified ?? undefined, joined: Object.values(record.groups.v1) };
  return (spec.mounts ?? [])
    .filter((m) => m.type === 'cgroup')
    .flatMap((m) => ownGroupBinds(m.destination, facts, groups));
}

/** A destination as the mount table has it: without the symlinks of the container's root. */
export function mountPointOf(root: string, destination: string): string {
  // The kernel knows where a path of that root ends; what isn't there is taken as it is written.
  let at = '';
  const parts = path.posix.normalize(`/${destination}`).split('/').filter(Boolean);
  for (let links = 0; parts.length > 0 && links < 40; ) {
    const name = parts.shift()!;
    if (name === '..') {
      at = path.posix.dirname(at || '/');
      if (at === '/') at = '';
      continue;
    }
    let target: string | undefined;
    try {
      target = readlinkSync(`${root}${at}/${name}`);
    } catch {
      // No symlink, or nothing there yet.
    }
    if (target === undefined) {
      at = `${at}/${name}`;
      continue;
    }
    links++;
    parts.unshift(...target.split('/').filter((p) => p && p !== '.'));
    if (target.startsWith('/')) at = '';
  }
  return at || '/';
}

/** Mount points below binds that a recursive bind brought along: the spec doesn't name them, criu wants to know. */
export function mountsBelow(pid: number, binds: readonly string[], known: readonly string[]): string[] {
  const points = readFileSync(`/proc/${pid}/mountinfo`, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => unescapeOctal(line.split(' ')[4] ?? ''));
  const inSpec = new Set(known);
  return points.filter((p) => !inSpec.has(p) && binds.some((b) => p.startsWith(`${b}/`)));
}

/** The same at restore: where each comes from on the host, as criu is told (`mnt[point]:source`). */
export function mountsCarried(source: string, point: string): string[] {
  const from = realpathSync(source);
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => unescapeOctal(line.split(' ')[4] ?? ''))
    .filter((p) => p.startsWith(`${from}/`))
    .map((p) => `mnt[${point}${p.slice(from.length)}]:${p}`);
}

function unescapeOctal(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** Namespaces of the spec that have a path, as criu names the kinds it can leave outside. */
const KINDS: Record<string, { name: string; key: string } | undefined> = {
  network: { name: 'net', key: 'extRootNetNS' },
  pid: { name: 'pid', key: 'extRootPidNS' },
};

export interface OutsideNamespace {
  kind: string;
  path: string;
  /** criu leaves it alone, and takes the fd of this key at restore; absent: it joins the file by itself. */
  external?: { name: string; key: string };
}

export function namespacesOutside(spec: Spec): OutsideNamespace[] {
  return (spec.linux?.namespaces ?? []).flatMap((n) => {
    if (!n.path) return [];
    const external = KINDS[n.type];
    return [{ kind: n.type, path: n.path, ...(external ? { external } : {}) }];
  });
}

/** criu's name for a namespace that stays outside: kind and inode. @throws where the file has gone */
export function externalNamespace(n: { name: string; key: string }, file: string): string {
  return `${n.name}[${statSync(file).ino}]:${n.key}`;
}

/**
 * The keys under which criu knows a container's stdio: `pipe:[inode]` as it is, `file[mount:inode]` for a file of the
 * host and `tty[device:filesystem]` for a terminal of the host that init still has as 0, 1 or 2 (criu is to be told of
 * files and terminals when it dumps).
 */
export function stdioKeys(pid: number, recorded: readonly string[]): string[] {
  const mounts = new Set(
    readFileSync(`/proc/${pid}/mountinfo`, 'utf8')
      .split('\n')
      .map((line) => line.split(' ')[0]),
  );
  return recorded.map((name, fd) => {
    if (!name.startsWith('/')) return name;
    try {
      const file = `/proc/${pid}/fd/${fd}`;
      const id = /^mnt_id:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/fdinfo/${fd}`, 'utf8'))?.[1];
      const st = statSync(file);
      if (id === undefined || mounts.has(id)) return name;
      if (st.isCharacterDevice() && isTerminal(name)) {
        return `tty[${st.rdev.toString(16)}:${st.dev.toString(16)}]`;
      }
      if (!st.isFile()) return name;
      return `file[${Number(id).toString(16)}:${st.ino.toString(16)}]`;
    } catch {
      return name;
    }
  });
}

/** Whether a name of an open file (a link of /proc/PID/fd) is that of a terminal. */
export function isTerminal(name: string): boolean {
  return /^\/dev\/(pts\/|tty|console$)/.test(name);
}
