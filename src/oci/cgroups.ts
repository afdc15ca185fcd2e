import { accessSync, constants, existsSync } from 'node:fs';
import path from 'node:path';
import { InvalidError, NsboxError } from '../base/index.js';
import {
  type CgroupPlan,
  checkSystemd,
  DEFAULT_DEVICE_RULES,
  planCgroup,
  readyCgroups,
  type ScopeName,
  scopeGroup,
  scopeOfCgroupsPath,
} from '../cgroup/index.js';
import type { HostFacts } from '../host/index.js';
import type { Spec, SpecResources } from '../spec/index.js';
import { log } from './log.js';
import type { Runtime } from './runtime.js';

/**
 * Where the container's groups lie: `linux.cgroupsPath` below the root of each hierarchy, or `/nsbox-oci/<id>`. With the
 * systemd manager it is `slice:prefix:name`, and systemd makes the group.
 * @throws InvalidError for a path that leads out of the tree, or is no name of a scope; UnsupportedError without systemd
 */
export function cgroupsPathOf(
  runtime: Runtime,
  spec: Spec,
  id: string,
  facts: HostFacts['cgroup'],
): { path: string; scope?: ScopeName } {
  const given = spec.linux?.cgroupsPath;
  if (runtime.cgroupManager === 'systemd') {
    checkSystemd(facts);
    const scope = scopeOfCgroupsPath(given, id);
    return { path: scopeGroup(scope), scope };
  }
  if (!given) return { path: `/nsbox-oci/${id}` };
  if (given.split('/').includes('..') || given.includes('\0')) {
    throw new InvalidError(`linux.cgroupsPath: ${JSON.stringify(given)} leads out of the cgroup tree`, {
      code: 'INVALID_SPEC',
      path: 'linux.cgroupsPath',
    });
  }
  return { path: given.startsWith('/') ? given : `/${given}` };
}

/**
 * The groups and limits of a spec. Devices that the standard says are always there are allowed after its own rules,
 * as in runc.
 */
export function planGroups(
  spec: Spec,
  place: { path: string; scope?: ScopeName },
  host: HostFacts,
): CgroupPlan {
  if (!place.scope) readyCgroups(host.cgroup);
  return planCgroup(withDefaultDevices(spec.linux?.resources), place.path, host, { statistics: 'all' });
}

/**
 * With `--rootless`: whether the container does without groups, since this process may not make them.
 * @throws NsboxError PERMISSION where the container asks for a path or for limits, as in runc
 */
export function goesWithoutGroups(runtime: Runtime, spec: Spec, planned: CgroupPlan): boolean {
  const closed = planned.groups.find((g) => !mayMake(g.path));
  if (!closed) return false;
  const { devices: _, ...limits } = spec.linux?.resources ?? {};
  const asked = spec.linux?.cgroupsPath ? ['cgroupsPath'] : Object.keys(limits);
  if (asked.length > 0) {
    throw new NsboxError(
      'PERMISSION',
      `cannot make the cgroup ${closed.path}, which the configuration needs`,
      {
        path: closed.path,
        hint: `it sets ${asked.join(', ')}`,
      },
    );
  }
  log(runtime.log, 'debug', `no cgroup for this container: ${closed.path} cannot be made`);
  return true;
}

/** Whether the nearest directory that is there may be written to: false for a read-only mount too. */
function mayMake(group: string): boolean {
  let directory = group;
  while (!existsSync(directory)) directory = path.dirname(directory);
  try {
    accessSync(directory, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** The device rules of a container alone, for `update`. */
export function planDeviceRules(spec: Spec, group: string, host: HostFacts): CgroupPlan {
  const devices = spec.linux?.resources?.devices;
  return planCgroup(withDefaultDevices(devices && { devices }), group, host, { statistics: false });
}

function withDefaultDevices(resources: SpecResources | undefined): SpecResources | undefined {
  if (!resources?.devices?.length) return resources;
  const last = resources.devices.at(-1);
  // Everything is allowed: nothing to add.
  if (last?.allow && (!last.type || last.type === 'a')) return resources;
  return { ...resources, devices: [...resources.devices, ...DEFAULT_DEVICE_RULES.filter((r) => r.allow)] };
}
