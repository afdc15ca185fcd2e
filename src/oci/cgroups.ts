import { InvalidError } from '../base/index.js';
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
  { path, scope }: { path: string; scope?: ScopeName },
  host: HostFacts,
): CgroupPlan {
  if (!scope) readyCgroups(host.cgroup);
  return planCgroup(withDefaultDevices(spec.linux?.resources), path, host, { statistics: 'all' });
}

/** The device rules of a container alone, for `update`. */
export function planDeviceRules(spec: Spec, path: string, host: HostFacts): CgroupPlan {
  const devices = spec.linux?.resources?.devices;
  return planCgroup(withDefaultDevices(devices && { devices }), path, host, { statistics: false });
}

function withDefaultDevices(resources: SpecResources | undefined): SpecResources | undefined {
  if (!resources?.devices?.length) return resources;
  const last = resources.devices.at(-1);
  // Everything is allowed: nothing to add.
  if (last?.allow && (!last.type || last.type === 'a')) return resources;
  return { ...resources, devices: [...resources.devices, ...DEFAULT_DEVICE_RULES.filter((r) => r.allow)] };
}
