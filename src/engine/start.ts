import { chownSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ConflictError, type Context, NotFoundError, type NsboxError } from '../base/index.js';
import { launchCgroup, makeScope, planCgroup, readyCgroups, superviseScope } from '../cgroup/index.js';
import { readSmall } from '../host/index.js';
import type { NetworkSettings } from '../network/index.js';
import { type LaunchPlan, type PlanInput, plan } from '../plan/index.js';
import { exposedPorts, type NamespaceType, type ResolvedMount } from '../spec/index.js';
import { ensureDirectory, writeRecord } from '../state/index.js';
import { lockContainer } from './container-lock.js';
import { containerState, findContainer, readContainer } from './containers.js';
import { imageOf, joinedContainer, joinedContainers, type UsableImage } from './create.js';
import {
  deviceEdits,
  hasRuntimeHooks,
  hookState,
  poststartHooks,
  runtimeHooks,
  sourcesOf,
} from './devices.js';
import { keepConfig } from './keep.js';
import { type Launched, launch, type StepTime } from './launch.js';
import { mountsForStart } from './mounts.js';
import { ownFileMounts } from './own-files.js';
import { containerPaths, idsDirectory, namesDirectory } from './paths.js';
import { notePoststop, poststopOf, runDuePoststop } from './poststop.js';
import type { ContainerRecord, ExitRecord } from './records.js';
import { layersReader } from './rootfs-reader.js';
import { factsOf, ldCacheOf } from './sandbox.js';
import { scopeOf } from './scope.js';
import { specOf } from './spec-of.js';
import { keepProject } from './storage-opt.js';

export interface StartOptions {
  /** Only the plan is wanted: nothing may be run for it. */
  explain?: boolean | undefined;
  /** Called once the monitor has been started: what the caller does here costs no time. */
  meanwhile?: (() => void) | undefined;
  /** Called when the monitor listens and before the program runs: a client that must miss no output connects here. */
  attach?: ((socket: string) => Promise<void>) | undefined;
  onTrace?: ((time: StepTime, plan: LaunchPlan) => void) | undefined;
  terminalSize?: { rows: number; columns: number } | undefined;
}

/** A plan with all that came up on the way to it. */
export interface PreparedLaunch {
  plan: LaunchPlan;
  spec: PlanInput['spec'];
  warnings: string[];
  /** Sources of mounts whose owners nobody minds: the driver's libraries. */
  deviceSources: ReadonlySet<string>;
  oomFiles: string[];
  /** Has systemd make the container's scope; absent where nsbox makes its groups itself. */
  scope?: () => Promise<{ release(): void }>;
}

/** What a record names, resolved: done for real by start, and without touching anything by `--explain`. */
export interface Ingredients {
  image: UsableImage | undefined;
  mounts: ResolvedMount[];
  /** hosts, resolv.conf and hostname. */
  files: ResolvedMount[];
  join: Partial<Record<NamespaceType, string>>;
  shm: string | undefined;
}

async function gather(
  ctx: Context,
  record: ContainerRecord,
  image: UsableImage | undefined,
  network: NetworkSettings,
): Promise<Ingredients> {
  return {
    image,
    mounts: await mountsForStart(ctx, record.mounts, record.request, image && { layers: image.layers }),
    files: await ownFiles(ctx, record, network),
    ...joins(ctx, record),
  };
}

/** Everything between a record and its plan: names, devices, spec, cgroup. Changes nothing but staged device files. */
export async function prepareLaunch(
  ctx: Context,
  record: ContainerRecord,
  given: Ingredients,
  options: StartOptions = {},
): Promise<PreparedLaunch> {
  const { request } = record;
  const host = factsOf(ctx);
  const paths = containerPaths(ctx, record.id);
  const { image, mounts, files } = given;
  const covered = new Set(mounts.map((m) => m.target));
  const warnings: string[] = [];
  const layers = image?.layers ?? [];
  const edits = await deviceEdits(
    ctx,
    request,
    image?.config.config?.Env ?? [],
    image ? layers : request.rootfs!,
    {
      fixed: image !== undefined,
      upper: paths.upper,
      ...(options.explain ? {} : { run: (staged, to) => ldCacheOf(ctx, layers, staged, to) }),
    },
  );
  warnings.push(...(edits?.warnings ?? []));
  const { spec, seccomp } = await specOf(ctx, {
    id: record.id,
    request,
    image: image?.config,
    host,
    rootfs: request.rootfs ?? paths.upper,
    read: layersReader(image ? [paths.upper, ...[...layers].reverse()] : [request.rootfs!]),
    idRange: record.idRange,
    mounts: [...files.filter((f) => !covered.has(f.target)), ...mounts],
    cgroupsPath: record.cgroup,
    join: given.join,
    shm: given.shm,
    edits,
  });
  const groups = planCgroup(spec.linux?.resources, record.cgroup, host, {
    onUnenforceable: request.resources.forceLimits,
    ...(request.cgroupParent ? { read: readSmall } : {}),
  });
  warnings.push(...groups.warnings);
  const scope = scopeOf(record);
  if (scope) superviseScope(groups, host.cgroup, scope);
  const ownNetwork = spec.linux?.namespaces?.some((n) => n.type === 'network' && !n.path) ?? false;
  const input: PlanInput = {
    id: record.id,
    spec,
    ...(spec.hooks ? { hookState: hookState(record.id, spec, paths.data) } : {}),
    host,
    rootfs: image
      ? {
          kind: 'overlay',
          layers: edits ? [...layers, ...edits.layers] : layers,
          upper: paths.upper,
          work: paths.work,
          volatile: request.autoRemove,
          idmap: record.idRange !== undefined,
        }
      : { kind: 'directory', path: request.rootfs!, idmap: record.idRange !== undefined },
    stdio: request.tty ? 'terminal' : 'pipes',
    stdinOpen: request.interactive,
    cgroup: { ...launchCgroup(groups, { hideFigures: true }), changes: paths.changes },
    ...(edits ? { links: edits.symlinks } : {}),
    ...(seccomp ? { seccomp: { program: seccomp.program, flags: seccomp.flags } } : {}),
    networkSync: ownNetwork && wired(request.networks),
    attachSync: options.attach !== undefined,
    runtimeHooks: hasRuntimeHooks(spec),
    poststop: poststopOf(record.id, spec, paths.data, paths.poststop),
    keepNamespaces: request.restart.name !== 'no',
    idmapBinds: record.idRange !== undefined,
    reaper: request.init,
    ...(record.idRange && given.join.user ? { joinedMappings: mapsOf(record.idRange) } : {}),
    ...(options.terminalSize ? { terminalSize: options.terminalSize } : {}),
    removeAtEnd: request.autoRemove ? [paths.data, paths.state] : [],
    unlinkAtEnd: request.autoRemove
      ? [
          path.join(namesDirectory(ctx), record.name),
          ...(record.idRange && joinedContainers(request).length === 0
            ? [path.join(idsDirectory(ctx), String(record.idRange.start))]
            : []),
        ]
      : [],
  };
  return {
    plan: plan(input),
    spec,
    warnings,
    deviceSources: sourcesOf(edits),
    oomFiles: groups.oomFile ? [groups.oomFile] : [],
    ...(scope ? { scope: () => makeScope(host.cgroup, groups, scope) } : {}),
  };
}

function mapsOf(range: { start: number; size: number }): NonNullable<PlanInput['joinedMappings']> {
  const map = [{ containerID: 0, hostID: range.start, size: range.size }];
  return { uid: map, gid: map };
}

/** Whether there is anything to wire: `none` has only its loopback. */
function wired(networks: ContainerRecord['request']['networks']): boolean {
  return !networks.some(
    (n) => n.network === 'none' || n.network === 'host' || joinedContainer(n.network) !== undefined,
  );
}

/** Namespaces of other containers, by path; they must run. */
function joins(
  ctx: Context,
  record: ContainerRecord,
): { join: Partial<Record<NamespaceType, string>>; shm: string | undefined } {
  const join: Partial<Record<NamespaceType, string>> = {};
  const { request } = record;
  const add = (type: NamespaceType, reference: string | undefined, file: string) => {
    if (reference === undefined) return;
    const other = findContainer(ctx, reference);
    const pid = containerState(ctx, other).running?.pid;
    if (!pid) {
      throw new ConflictError(`cannot join the ${type} namespace of a non running container: ${reference}`, {
        hint: `start it first: nsbox start ${reference}`,
      });
    }
    join[type] = `/proc/${pid}/ns/${file}`;
    if (other.idRange) join.user = `/proc/${pid}/ns/user`;
  };
  add('pid', joinedContainer(request.namespaces.pid), 'pid');
  add('ipc', joinedContainer(request.namespaces.ipc), 'ipc');
  add('network', joinedContainer(request.networks[0]?.network), 'net');
  const ipc = joinedContainer(request.namespaces.ipc);
  const pid = ipc ? containerState(ctx, findContainer(ctx, ipc)).running?.pid : undefined;
  return { join, shm: pid ? `/proc/${pid}/root/dev/shm` : undefined };
}

/** hosts, resolv.conf and hostname: plain files of the container, mounted over the image's. */
async function ownFiles(
  ctx: Context,
  record: ContainerRecord,
  network: NetworkSettings,
): Promise<ResolvedMount[]> {
  const shared = joinedContainer(record.request.networks[0]?.network);
  const owner = shared === undefined ? record : findContainer(ctx, shared);
  const directory = containerPaths(ctx, owner.id).data;
  if (owner === record) {
    const { openNetworks } = await import('../network/index.js');
    const { hosts, resolvConf, hostname } = openNetworks(ctx).files(network);
    writeFileSync(path.join(directory, 'hosts'), hosts, { mode: 0o644 });
    writeFileSync(path.join(directory, 'resolv.conf'), resolvConf, { mode: 0o644 });
    writeFileSync(path.join(directory, 'hostname'), hostname, { mode: 0o644 });
  }
  return ownFileMounts(directory);
}

/**
 * Starts a created or ended container; nothing happens where it runs.
 * @returns when its program has been executed
 * @throws LaunchError with the failing step; the failure is also kept as the container's end (exit.json)
 */
export async function startContainer(
  ctx: Context,
  record: ContainerRecord,
  options: StartOptions = {},
): Promise<Launched | undefined> {
  // One start at a time, and none while it is removed. What happened while we waited counts.
  using _lock = await lockContainer(ctx, record.id);
  const current = readContainer(ctx, record.id);
  if (!current) throw new NotFoundError('container', record.name);
  return await startLocked(ctx, current, options); // the lock is held until then
}

async function startLocked(
  ctx: Context,
  record: ContainerRecord,
  options: StartOptions,
): Promise<Launched | undefined> {
  const { request } = record;
  const state = containerState(ctx, record);
  if (state.status === 'running' || state.status === 'restarting') return undefined;
  if (state.status === 'paused') {
    throw new ConflictError('cannot start a paused container, try unpause instead');
  }
  if (state.status === 'removing') throw new ConflictError(`container ${record.name} is being removed`);
  const paths = containerPaths(ctx, record.id);
  ensureDirectory(paths.state);
  rmSync(paths.changes, { force: true });
  rmSync(paths.exitAside, { force: true });
  rmSync(paths.work, { recursive: true, force: true }); // a volatile overlay that was not ended cleanly refuses its old one
  mkdirSync(paths.work, 0o700);
  keepProject(paths.work, record.project);
  if (record.idRange) chownSync(paths.work, record.idRange.start, record.idRange.start);

  if (!scopeOf(record)) readyCgroups(factsOf(ctx).cgroup); // with systemd its root is systemd's business
  const { openNetworks } = await import('../network/index.js');
  const networks = openNetworks(ctx);
  const began = new Date().toISOString();
  let scope: { release(): void } | undefined;
  try {
    const image = await imageOf(ctx, record);
    const settings = await networks.prepare({
      containerId: record.id,
      containerName: record.name,
      hostname: request.hostname ?? record.id.slice(0, 12),
      domainname: request.domainname,
      requests: request.networks,
      ports: request.ports,
      publishAll: request.publishAll,
      exposed: exposedPorts(image?.config, request),
      extraHosts: request.extraHosts,
      dns: request.dns,
      dnsSearch: request.dnsSearch,
      dnsOptions: request.dnsOptions,
    });
    const prepared = await prepareLaunch(ctx, record, await gather(ctx, record, image, settings), options);
    for (const warning of prepared.warnings) ctx.warn(warning);
    writeRecord(paths.spec, prepared.spec, { durable: false });
    scope = await prepared.scope?.();
    notePoststop(record.id, prepared.spec, paths.data, paths.poststop);
    const launching = launch(prepared.plan, {
      keep: keepConfig(ctx, record, image?.config, {
        oomFiles: prepared.oomFiles,
        foreground: options.attach !== undefined,
      }),
      newSession: true,
      sync: {
        network: (pid) => networks.connect(settings, `/proc/${pid}/ns/net`),
        createRuntime: (pid) => runtimeHooks(record.id, prepared.spec, paths.data, pid),
        ...(options.attach ? { attach: () => options.attach!(paths.socket) } : {}),
      },
      onNotice: (list, step) => {
        const s = list === 'parent' ? prepared.plan.parent[step] : undefined;
        if (s?.op === 'openTree' && !prepared.deviceSources.has(s.source)) {
          ctx.warn(`${s.source}: its filesystem can't be idmapped; files in it show the host's ids`);
        }
      },
      onWarning: ctx.warn,
      onTrace: options.onTrace && ((time) => options.onTrace!(time, prepared.plan)),
    });
    options.meanwhile?.();
    const launched = await launching.catch(async (error: unknown) => {
      await runDuePoststop(ctx, paths.poststop);
      throw error;
    });
    await poststartHooks(record.id, prepared.spec, paths.data, launched.pid);
    return launched;
  } catch (error) {
    await networks.release(record.id);
    recordFailure(paths, began, error as NsboxError);
    throw error;
  } finally {
    scope?.release();
  }
}

/** A failed start is an end as well: `ps -a` and `inspect` show its exit code and why. */
function recordFailure(paths: { exit: string }, startedAt: string, error: NsboxError): void {
  const end: ExitRecord = {
    exitCode: error.exitCode ?? 125,
    signal: 0,
    oomKilled: false,
    startedAt,
    finishedAt: new Date().toISOString(),
    restartCount: 0,
    error: error.message,
  };
  try {
    writeRecord(paths.exit, end, { durable: false });
  } catch {
    // the launch's own error is what the person must see (the disk may be full)
  }
}
