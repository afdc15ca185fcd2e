import { readFileSync } from 'node:fs';
import path from 'node:path';
import { ConflictError, fromErrno, InvalidError, UnsupportedError } from '../../base/index.js';
import {
  applyUpdate,
  checkMemoryUpdate,
  confineDevices,
  findGroups,
  planCgroup,
  updateScope,
} from '../../cgroup/index.js';
import { hostFacts } from '../../host/index.js';
import { parseResources, type SpecResources } from '../../spec/index.js';
import { checkCount, type Flag, type Parsed, parseArguments } from '../arguments.js';
import { planDeviceRules } from '../cgroups.js';
import { load, statusOf } from '../containers.js';
import type { Runtime } from '../runtime.js';
import { loadSpec, saveSpec } from '../spec-file.js';

const TEXTS = [
  'blkio-weight',
  'cpu-period',
  'cpu-quota',
  'cpu-burst',
  'cpu-rt-period',
  'cpu-rt-runtime',
  'cpu-share',
  'cpu-idle',
  'cpuset-cpus',
  'cpuset-mems',
  'memory',
  'memory-reservation',
  'memory-swap',
  'kernel-memory',
  'kernel-memory-tcp',
  'pids-limit',
  'l3-cache-schema',
  'mem-bw-schema',
];

const FLAGS: Flag[] = [
  { name: 'resources', short: 'r', kind: 'text' },
  ...TEXTS.map((name): Flag => ({ name, kind: 'text' })),
];

/** `update`: other limits for a container, from a file (`-` for stdin) or single flags. */
export async function command(runtime: Runtime, argv: readonly string[]): Promise<number> {
  const args = parseArguments(argv, FLAGS);
  checkCount('update', args.positional, 1);
  const record = load(runtime.root, args.positional[0]!);
  if (statusOf(runtime.root, record) === 'stopped') throw new ConflictError('container not running');
  if (!record.cgroup) throw new ConflictError(`container ${record.id} has no cgroups to update`);
  const l3CacheSchema = args.texts['l3-cache-schema'] || undefined;
  const memBwSchema = args.texts['mem-bw-schema'] || undefined;
  if (l3CacheSchema || memBwSchema) {
    const { updateSchemata } = await import('../rdt.js');
    if (!updateSchemata({ l3CacheSchema, memBwSchema }, record.rdt)) {
      throw new UnsupportedError(`container ${record.id} was made without linux.intelRdt`);
    }
  }
  for (const name of ['kernel-memory', 'kernel-memory-tcp']) {
    if (args.texts[name])
      runtime.ctx.warn(`--${name}: this kernel has no such limit, it is part of --memory`);
  }
  const resources = args.texts['resources']
    ? await fromFile(runtime, args.texts['resources'])
    : fromFlags(args);
  const host = hostFacts(runtime.ctx);
  const groups = findGroups(host.cgroup, record.cgroup);
  if (resources.memory?.checkBeforeUpdate) checkMemoryUpdate(resources, groups);
  const plan = planCgroup(resources, record.cgroup, host, { update: true, statistics: false });
  if (record.scope) await updateScope(plan, record.scope);
  applyUpdate(plan, groups);
  const spec = loadSpec(runtime.root, record.id);
  confineDevices(planDeviceRules(spec, record.cgroup, host));
  spec.linux = { ...spec.linux, resources: merged(spec.linux?.resources ?? {}, resources) };
  saveSpec(runtime.root, record.id, spec);
  return 0;
}

async function fromFile(runtime: Runtime, given: string): Promise<SpecResources> {
  const file = given === '-' ? '/dev/stdin' : path.resolve(runtime.ctx.cwd, given);
  let text: string;
  try {
    text = given === '-' ? readFileSync(0, 'utf8') : readFileSync(file, 'utf8');
  } catch (error) {
    throw fromErrno(`open ${file}`, error, { path: file });
  }
  return (await parseResources(text, given === '-' ? 'stdin' : file)).value;
}

function fromFlags(args: Parsed): SpecResources {
  const number = (name: string): number | undefined => {
    const text = args.texts[name];
    if (text === undefined || text === '') return undefined;
    if (!/^-?\d+$/.test(text)) throw new InvalidError(`invalid value for ${name}: ${text}`);
    return Number(text);
  };
  const bytes = (name: string): number | undefined => {
    const match = /^(-?\d+(?:\.\d+)?)\s*([kmgtp]?)i?b?$/i.exec(args.texts[name] ?? '');
    if (args.texts[name] === undefined || args.texts[name] === '') return undefined;
    if (!match) throw new InvalidError(`invalid value for ${name}: ${args.texts[name]}`);
    return Math.floor(
      Number(match[1]) * 1024 ** ['', 'k', 'm', 'g', 't', 'p'].indexOf(match[2]!.toLowerCase()),
    );
  };
  const section = <T extends object>(values: T): T | undefined => {
    const set = Object.entries(values).filter(([, v]) => v !== undefined);
    return set.length > 0 ? (Object.fromEntries(set) as T) : undefined;
  };
  const pids = number('pids-limit');
  return {
    cpu: section({
      period: number('cpu-period'),
      quota: number('cpu-quota'),
      burst: number('cpu-burst'),
      realtimePeriod: number('cpu-rt-period'),
      realtimeRuntime: number('cpu-rt-runtime'),
      shares: number('cpu-share'),
      idle: number('cpu-idle'),
      cpus: args.texts['cpuset-cpus'],
      mems: args.texts['cpuset-mems'],
    }),
    memory: section({
      limit: bytes('memory'),
      reservation: bytes('memory-reservation'),
      swap: bytes('memory-swap'),
    }),
    blockIO: section({ weight: number('blkio-weight') }),
    pids: pids === undefined ? undefined : { limit: pids },
  };
}

function merged(old: SpecResources, changed: SpecResources): SpecResources {
  return {
    ...old,
    ...Object.fromEntries(
      Object.entries(changed).flatMap(([key, value]) =>
        value === undefined
          ? []
          : [
              [
                key,
                Array.isArray(value) ? value : { ...(old[key as keyof SpecResources] as object), ...value },
              ],
            ],
      ),
    ),
  };
}
