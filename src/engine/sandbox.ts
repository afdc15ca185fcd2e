import { chownSync, closeSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type Context, newId } from '../base/index.js';
import {
  type Groups,
  launchCgroup,
  makeScope,
  planCgroup,
  plannedGroups,
  readyCgroups,
  reportFiles,
  superviseScope,
} from '../cgroup/index.js';
import type { StagedEdits } from '../devices/index.js';
import { type HostFacts, hostFacts } from '../host/index.js';
import { tryLock } from '../kernel/index.js';
import { type PlanInput, plan, type RootfsInput } from '../plan/index.js';
import type { ContainerRequest, ImageConfig, ResolvedMount, Spec } from '../spec/index.js';
import { emptyRequest, exposedPorts, needsHostIds } from '../spec/index.js';
import { ensureDirectory } from '../state/index.js';
import { claimIds, release } from './claims.js';
import {
  deviceEdits,
  hasRuntimeHooks,
  hookState,
  poststartHooks,
  runtimeHooks,
  sourcesOf,
} from './devices.js';
import { type Launched, launch, type StepTime } from './launch.js';
import { ownFileMounts } from './own-files.js';
import { idsDirectory, poststopNote, sandboxesDirectory } from './paths.js';
import { notePoststop, poststopOf, runDuePoststop } from './poststop.js';
import { layersReader } from './rootfs-reader.js';
import { groupPathFor, scopeOf, withManager } from './scope.js';
import { specOf } from './spec-of.js';
import { checkStorageOptions, limitLayer } from './storage-opt.js';

/** What a sandbox is made from: a directory, or an image's layers. */
export interface SandboxRoot {
  /** Layer directories, lowest first. */
  layers: string[];
  config: ImageConfig | undefined;
}

export interface SandboxOptions {
  request: ContainerRequest;
  root: SandboxRoot;
  mounts?: ResolvedMount[];
  /** What devices change, where that is known already. */
  edits?: StagedEdits | undefined;
  /** Fds for the program's 0, 1, 2; -1: /dev/null. They stay the caller's. */
  stdio: [number, number, number];
  onTrace?: ((time: StepTime) => void) | undefined;
}

export interface Sandbox extends Launched {
  id: string;
  spec: Spec;
  /** Path of its group below the hierarchies. */
  cgroup: string;
  /** The groups themselves. */
  groups: Groups;
  idRange: { start: number; size: number } | undefined;
}

const facts = new Map<string, HostFacts>();

/** Facts of the host, asked once per process and root. */
export function factsOf(ctx: Context): HostFacts {
  const key = `${ctx.root}\0${ctx.state}`;
  let known = facts.get(key);
  if (!known) {
    known = hostFacts(ctx);
    facts.set(key, known);
  }
  return known;
}

/**
 * A container without a record: no name, no log, nothing durable. It lives as long as this process and its monitor;
 * its writable layer lies below <root>/sandboxes, locked by the monitor, and goes with it.
 * @throws InvalidError, LaunchError
 */
export async function startSandbox(ctx: Context, options: SandboxOptions): Promise<Sandbox> {
  const host = factsOf(ctx);
  const request = withManager(ctx, options.request, host);
  checkStorageOptions(request, host);
  const id = newId();
  const directory = path.join(sandboxesDirectory(ctx), id);
  const ownIds =
    needsHostIds(request) === undefined && host.userns.available && host.features.idmappedOverlay.have;
  let lock: number | undefined;
  let idRange: { start: number; size: number } | undefined;
  let networked = false;
  let scope: { release(): void } | undefined;
  const undo = async () => {
    if (networked) await releaseNetwork(ctx, id);
    if (lock !== undefined) closeSync(lock);
    await runDuePoststop(ctx, poststopNote(directory));
    rmSync(directory, { recursive: true, force: true });
    if (idRange) release(path.join(idsDirectory(ctx), String(idRange.start)), id);
  };
  try {
    makeDirectory(directory);
    lock = openSync(directory, 'r');
    tryLock(lock, 'exclusive');
    if (ownIds) idRange = claimIds(ctx, host, id);
    const upper = path.join(directory, 'upper');
    const work = path.join(directory, 'work');
    mkdirSync(upper, 0o755);
    mkdirSync(work, 0o700);
    limitLayer(request, id, [upper, work]);
    if (idRange) {
      chownSync(upper, idRange.start, idRange.start);
      chownSync(work, idRange.start, idRange.start);
    }
    const edits =
      options.edits ??
      (await deviceEdits(ctx, request, options.root.config?.config?.Env ?? [], options.root.layers, {
        fixed: options.root.config !== undefined,
        run: (staged, to) => ldCacheOf(ctx, options.root.layers, staged, to),
      }));
    for (const warning of edits?.warnings ?? []) ctx.warn(warning);
    const deviceSources = sourcesOf(edits);
    const network = await prepareNetwork(ctx, id, request, directory, options.root.config);
    networked = network !== undefined;
    const { spec, seccomp } = await specOf(ctx, {
      id,
      request,
      image: options.root.config,
      host,
      rootfs: upper,
      read: layersReader([...options.root.layers].reverse()),
      idRange,
      mounts: [...(network?.files ?? []), ...(options.mounts ?? [])],
      cgroupsPath: groupPathFor(id, request),
      join: {},
      edits,
    });
    const unit = scopeOf({ id, request });
    if (!unit) readyCgroups(host.cgroup);
    const groups = planCgroup(spec.linux?.resources, spec.linux!.cgroupsPath!, host, {
      statistics: false,
      onUnenforceable: request.resources.forceLimits,
    });
    for (const warning of groups.warnings) ctx.warn(warning);
    if (unit) superviseScope(groups, host.cgroup, unit);
    const cgroup = launchCgroup(groups);
    // In a user namespace no node but those of its own /dev can be opened, so there is nothing to filter.
    if (idRange && !edits && !options.mounts?.length) delete cgroup.device;
    const root: RootfsInput = {
      kind: 'overlay',
      layers: edits ? [...options.root.layers, ...edits.layers] : options.root.layers,
      upper,
      work,
      volatile: true,
      idmap: idRange !== undefined,
    };
    const due = poststopNote(directory);
    notePoststop(id, spec, directory, due);
    const input: PlanInput = {
      id,
      spec,
      ...(spec.hooks ? { hookState: hookState(id, spec, directory) } : {}),
      host,
      rootfs: root,
      stdio: 'inherit',
      cgroup,
      ...(edits ? { links: edits.symlinks } : {}),
      ...(seccomp ? { seccomp } : {}),
      networkSync: network?.connect !== undefined,
      runtimeHooks: hasRuntimeHooks(spec),
      poststop: poststopOf(id, spec, directory, due),
      idmapBinds: idRange !== undefined,
      reaper: request.init,
      dieWithRuntime: true,
      report: reportFiles(groups),
      passed: ['lock'],
      removeAtEnd: [directory],
      unlinkAtEnd: idRange ? [path.join(idsDirectory(ctx), String(idRange.start))] : [],
    };
    if (unit) scope = await makeScope(host.cgroup, groups, unit);
    const launched = await launch(plan(input), {
      stdio: options.stdio,
      passed: [lock],
      newSession: true,
      sync: {
        ...(network?.connect ? { network: network.connect } : {}),
        createRuntime: (pid) => runtimeHooks(id, spec, directory, pid),
      },
      onNotice: (list, step) => {
        const s = list === 'parent' ? plan(input).parent[step] : undefined;
        if (s?.op === 'openTree' && !deviceSources.has(s.source)) {
          ctx.warn(`${s.source}: its filesystem can't be idmapped; files in it show the host's ids`);
        }
      },
      onWarning: ctx.warn,
      onTrace: options.onTrace,
    });
    closeSync(lock);
    await poststartHooks(id, spec, directory, launched.pid);
    const exit = networked
      ? launched.exit.then(async (report) => {
          await releaseNetwork(ctx, id);
          return report;
        })
      : launched.exit;
    return {
      ...launched,
      exit,
      id,
      spec,
      idRange,
      cgroup: spec.linux!.cgroupsPath!,
      groups: plannedGroups(groups),
    };
  } catch (error) {
    await undo();
    throw error;
  } finally {
    scope?.release();
  }
}

/**
 * The ld cache that the image's own ldconfig makes, with the driver's libraries mounted, in a container that is there
 * for nothing else.
 * @param to an empty directory for it
 * @returns undefined where it fails: the container's start runs ldconfig then
 */
export async function ldCacheOf(
  ctx: Context,
  layers: readonly string[],
  staged: StagedEdits,
  to: string,
): Promise<Uint8Array | undefined> {
  const { program, args } = staged.ldconfig!;
  const target = '/run/nsbox-ld-cache';
  try {
    const sandbox = await startSandbox(
      { ...ctx, warn: () => {} },
      {
        request: {
          ...emptyRequest(),
          user: '0',
          command: [program, ...args.slice(1), '-X', '-C', `${target}/ld.so.cache`],
          networks: [{ network: 'none' }],
        },
        root: { layers: [...layers], config: undefined },
        mounts: [{ type: 'bind', source: to, target, readonly: false }],
        edits: { ...staged, nodes: [], cgroupRules: [], hooks: {}, ldconfig: undefined },
        stdio: [-1, -1, -1],
      },
    );
    const end = await sandbox.exit;
    return end?.code === 0 && end.signal === 0 ? readFileSync(path.join(to, 'ld.so.cache')) : undefined;
  } catch {
    return undefined;
  }
}

/** Addresses, names and a way to wire them; undefined with `none`, which has a loopback and no files. */
async function prepareNetwork(
  ctx: Context,
  id: string,
  request: ContainerRequest,
  directory: string,
  image: ImageConfig | undefined,
): Promise<{ files: ResolvedMount[]; connect: ((pid: number) => Promise<void>) | undefined } | undefined> {
  if (request.networks.some((n) => n.network === 'none')) return undefined;
  const { openNetworks } = await import('../network/index.js');
  const networks = openNetworks(ctx);
  const settings = await networks.prepare({
    containerId: id,
    containerName: id.slice(0, 12),
    hostname: request.hostname ?? id.slice(0, 12),
    requests: request.networks,
    ports: request.ports,
    publishAll: request.publishAll,
    exposed: exposedPorts(image, request),
    extraHosts: request.extraHosts,
    dns: request.dns,
    dnsSearch: request.dnsSearch,
    dnsOptions: request.dnsOptions,
  });
  const texts = networks.files(settings);
  writeFileSync(path.join(directory, 'hosts'), texts.hosts, { mode: 0o644 });
  writeFileSync(path.join(directory, 'resolv.conf'), texts.resolvConf, { mode: 0o644 });
  writeFileSync(path.join(directory, 'hostname'), texts.hostname, { mode: 0o644 });
  const host = request.networks.some((n) => n.network === 'host');
  return {
    files: ownFileMounts(directory),
    connect: host ? undefined : (pid) => networks.connect(settings, `/proc/${pid}/ns/net`),
  };
}

async function releaseNetwork(ctx: Context, id: string): Promise<void> {
  const { openNetworks } = await import('../network/index.js');
  await openNetworks(ctx).release(id);
}

function makeDirectory(directory: string): void {
  try {
    mkdirSync(directory, 0o700);
  } catch {
    ensureDirectory(directory);
  }
}
