import { InvalidError, NsboxError } from '../base/index.js';
import { CAPABILITY_NAMES } from '../host/index.js';
import { checkSysctls, type Spec, type SpecProcess } from '../spec/index.js';
import { log } from './log.js';
import type { Runtime } from './runtime.js';

/**
 * What a schema can't say: the rules between fields, and what Linux needs. In the words that callers know from runc,
 * where there are such.
 * @throws InvalidError INVALID_SPEC
 */
export function checkSpec(spec: Spec): void {
  if (!spec.root?.path) throw invalid('root', 'expected the path of a root filesystem, but it is missing');
  if (spec.windows || spec.vm || spec.solaris || spec.zos || spec.freebsd) {
    if (!spec.linux) {
      throw new NsboxError(
        'UNSUPPORTED',
        'the configuration is for another platform: it has no "linux" section',
      );
    }
  }
  checkProcess(spec);
  const namespaces = spec.linux?.namespaces ?? [];
  const has = (type: string) => namespaces.some((n) => n.type === type);
  if (spec.hostname && !has('uts'))
    throw invalid('hostname', 'unable to set hostname without a private UTS namespace');
  if (spec.domainname && !has('uts')) {
    throw invalid('domainname', 'unable to set domainname without a private UTS namespace');
  }
  if (!has('mount') && (spec.linux?.maskedPaths?.length || spec.linux?.readonlyPaths?.length)) {
    throw invalid('linux.maskedPaths', 'unable to restrict sys entries without a private MNT namespace');
  }
  if ((spec.linux?.uidMappings?.length || spec.linux?.gidMappings?.length) && !has('user')) {
    throw invalid(
      'linux.uidMappings',
      "user namespace mappings specified, but user namespace isn't enabled in the config",
    );
  }
  for (const [i, mount] of (spec.mounts ?? []).entries()) {
    const ids = mount.uidMappings?.length || mount.gidMappings?.length;
    if (ids && (!mount.uidMappings?.length || !mount.gidMappings?.length)) {
      throw invalid(`mounts[${i}]`, 'expected both uidMappings and gidMappings');
    }
  }
  if (spec.linux?.sysctl) checkSysctls(spec.linux.sysctl, namespaces, spec.hostname);
  for (const [from, to] of Object.entries(spec.linux?.netDevices ?? {})) {
    for (const name of [from, to.name ?? from]) {
      if (!/^[^/\s:]{1,15}$/.test(name) || name === '.' || name === '..') {
        throw invalid(`linux.netDevices.${from}`, `invalid network device name ${JSON.stringify(name)}`);
      }
    }
    if (!has('network'))
      throw invalid('linux.netDevices', 'unable to move network devices without a private NET namespace');
  }
}

function checkProcess(spec: Spec): void {
  const p = spec.process;
  if (!p) throw invalid('process', 'process property must not be empty');
  if (!p.args?.length) throw invalid('process.args', 'args must not be empty');
  if (p.cwd === '') throw invalid('process.cwd', 'Cwd property must not be empty');
  if (!p.cwd.startsWith('/')) throw invalid('process.cwd', 'Cwd must be an absolute path');
  for (const [i, limit] of (p.rlimits ?? []).entries()) {
    if ((p.rlimits ?? []).slice(0, i).some((l) => l.type === limit.type)) {
      throw invalid(`process.rlimits[${i}]`, `rlimit ${limit.type} is given twice`);
    }
  }
}

function invalid(path: string, message: string): InvalidError {
  return new InvalidError(`config.json: ${path}: ${message}`, { code: 'INVALID_SPEC', path });
}

/**
 * The process without capabilities that nobody knows, which are told in a warning: runtime-spec, "MUST be logged as a
 * warning by the runtime".
 */
export function knownCapabilities(runtime: Runtime, process: SpecProcess): SpecProcess {
  if (!process.capabilities) return process;
  const unknown = new Set<string>();
  const known = (name: string) => {
    const is = (CAPABILITY_NAMES as readonly string[]).includes(name.replace(/^CAP_/, ''));
    if (!is) unknown.add(name);
    return is;
  };
  const sets = Object.entries(process.capabilities).map(([set, names]) => [set, names?.filter(known)]);
  if (unknown.size === 0) return process;
  log(runtime.log, 'warning', `ignoring unknown or unavailable capabilities: [${[...unknown].join(' ')}]`);
  return { ...process, capabilities: Object.fromEntries(sets) as SpecProcess['capabilities'] };
}
