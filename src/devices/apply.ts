import path from 'node:path';
import type { Spec, SpecDevice, SpecDeviceRule, SpecHooks, SpecMount, SpecUser } from '../spec/index.js';
import { type DeviceEdits, type DeviceRule, HOOK_NAMES } from './edits.js';

/**
 * The spec with the edits in it; the spec given isn't changed. A node or mount replaces the one at the same place,
 * mounts are put in order of depth among themselves, a variable replaces the one of that name, rules follow those that
 * are there (the last that fits decides). `symlinks` and `trees` aren't a spec's: the engine hands on the former,
 * stageEdits() makes mounts of the latter.
 */
export function applyEdits(spec: Spec, edits: DeviceEdits): Spec {
  const out: Spec = { ...spec };
  const linux: NonNullable<Spec['linux']> = { ...spec.linux };
  out.linux = linux;
  const devices = edits.nodes.map((n) => specDevice(n, spec.process?.user));
  const replaced = new Set(devices.map((d) => d.path));
  linux.devices = [...(linux.devices ?? []).filter((d) => !replaced.has(d.path)), ...devices];
  linux.resources = {
    ...linux.resources,
    devices: [...(linux.resources?.devices ?? []), ...edits.cgroupRules.map(specRule)],
  };
  out.mounts = mergeMounts(spec.mounts ?? [], edits);
  if (spec.process) {
    const user = spec.process.user;
    const gids = edits.additionalGids.filter((g) => !user.additionalGids?.includes(g));
    out.process = {
      ...spec.process,
      env: mergeEnv(spec.process.env ?? [], edits.env),
      ...(gids.length > 0
        ? { user: { ...user, additionalGids: [...(user.additionalGids ?? []), ...gids] } }
        : {}),
    };
  }
  const hooks = mergeHooks(spec, edits);
  if (hooks) out.hooks = hooks;
  if (edits.intelRdt) linux.intelRdt = { ...edits.intelRdt };
  if (edits.netDevices.length > 0) {
    linux.netDevices = {
      ...linux.netDevices,
      ...Object.fromEntries(edits.netDevices.map((d) => [d.hostName, { name: d.name }])),
    };
  }
  if (Object.keys(edits.annotations).length > 0) {
    out.annotations = { ...spec.annotations, ...edits.annotations };
  }
  return out;
}

/** A node whose owner isn't told belongs to the container's user, as CDI has it. */
function specDevice(node: DeviceEdits['nodes'][number], user: SpecUser | undefined): SpecDevice {
  const { path: place, type, major, minor, mode } = node;
  const uid = node.uid ?? user?.uid ?? 0;
  const gid = node.gid ?? user?.gid ?? 0;
  return { path: place, type, ...(type === 'p' ? {} : { major, minor }), fileMode: mode, uid, gid };
}

function specRule(rule: DeviceRule): SpecDeviceRule {
  const { allow, type, major, minor, access } = rule;
  return {
    allow,
    type,
    ...(major === undefined ? {} : { major }),
    ...(minor === undefined ? {} : { minor }),
    access,
  };
}

/** A mount below another has to come after it; otherwise the spec's own order stays. */
function mergeMounts(own: readonly SpecMount[], edits: DeviceEdits): SpecMount[] {
  const places = new Set(edits.mounts.map((m) => clean(m.destination)));
  const kept = own.filter((m) => !places.has(clean(m.destination)));
  const added = edits.mounts.map((m) => ({
    destination: m.destination,
    type: m.type ?? 'bind',
    source: m.source,
    options: [...m.options],
  }));
  const depth = (m: SpecMount) => clean(m.destination).split('/').length;
  return [...kept, ...added.sort((a, b) => depth(a) - depth(b))];
}

/** Without `.`, `..`, doubled and trailing slashes. */
function clean(place: string): string {
  return path.posix.resolve('/', place);
}

function mergeEnv(own: readonly string[], added: readonly string[]): string[] {
  const env = new Map<string, string>();
  for (const entry of [...own, ...added]) {
    const at = entry.indexOf('=');
    env.set(at < 0 ? entry : entry.slice(0, at), entry);
  }
  return [...env.values()];
}

/**
 * The image's ldconfig runs as a startContainer hook: in the container's namespaces, from its own root, before its
 * program. On a read-only root it couldn't write its cache; the libraries lie where loaders look without one.
 */
function mergeHooks(spec: Spec, edits: DeviceEdits): SpecHooks | undefined {
  const hooks: SpecHooks = { ...spec.hooks };
  for (const name of HOOK_NAMES) {
    const more = edits.hooks[name];
    if (more && more.length > 0) hooks[name] = [...(hooks[name] ?? []), ...more];
  }
  if (edits.ldconfig && !spec.root?.readonly) {
    const { program, args } = edits.ldconfig;
    hooks.startContainer = [{ path: program, args: [...args] }, ...(hooks.startContainer ?? [])];
  }
  return Object.keys(hooks).length > 0 ? hooks : undefined;
}
