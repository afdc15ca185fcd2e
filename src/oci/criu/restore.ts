import { closeSync, constants, mkdirSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fromErrno, InvalidError, isErrno, NotFoundError, NsboxError } from '../../base/index.js';
import { launchCgroup, makeScope } from '../../cgroup/index.js';
import { type Launched, launch } from '../../engine/launch.js';
import { hostFacts } from '../../host/index.js';
import { connectUnix, dupFd, Netlink, processStat, sendFd, setLinkUp } from '../../kernel/index.js';
import { groupSteps, type LaunchPlan, MS, type PlanInput, treeAsItIs } from '../../plan/index.js';
import type { Spec } from '../../spec/index.js';
import { checkSpec } from '../check.js';
import { claim, forget, newRecord, type OciRecord, save } from '../containers.js';
import { announce, inNamespaces, prepareGroups, resolveBundle } from '../create.js';
import { destroy } from '../destroy.js';
import { log } from '../log.js';
import type { Runtime } from '../runtime.js';
import { readBundle, saveSpec } from '../spec-file.js';
import { configFileOf } from './dump.js';
import type { CriuOptions, CriuResponse } from './message.js';
import { makeMountPoints } from './mount-points.js';
import { type CheckpointOptions, logPath } from './options.js';
import {
  bindsOf,
  DESCRIPTORS,
  EMPTY_NETWORK,
  groupBindsOf,
  isTerminal,
  mountPointOf,
  mountsCarried,
  namespacesOutside,
} from './outside.js';
import { checkCriu, findCriu, openSession, refused } from './session.js';

const LOG = 'restore.log';
/** criu with --lsm-profile and --lsm-mount-context that do what they say. */
const LSM = 31600;
/** The socket in criu's own fd table; what is handed over comes after it. */
const SOCKET_FD = 3;

export interface RestoreOptions extends CheckpointOptions {
  id: string;
  bundle: string | undefined;
  consoleSocket: string | undefined;
  pidFile: string | undefined;
  detach: boolean;
}

/**
 * Makes a container of images that `checkpoint` wrote. criu runs as a container's program would: in its groups, started
 * by the monitor, in a mount namespace of its own where the root filesystem is a mount. The restored init is criu's
 * sibling, so the monitor's child: it waits for it in the foreground, and leaves it to the caller's subreaper otherwise.
 * @throws NsboxError with the last lines of criu's log; nothing of the container is left then
 */
export async function restore(
  runtime: Runtime,
  options: RestoreOptions,
): Promise<{ record: OciRecord; launched: Launched }> {
  const { ctx, root } = runtime;
  const bundle = resolveBundle(ctx.cwd, options.bundle);
  const spec = await readBundle(runtime, path.join(bundle, 'config.json'));
  checkSpec(spec);
  const rootfs = path.resolve(bundle, spec.root!.path);
  const descriptors = readDescriptors(options.imagePath);
  const criu = findCriu(runtime);
  const version = await checkCriu(criu, { lazyPages: options.lazyPages });
  if ((options.lsmProfile || options.lsmMountContext) && version < LSM) {
    throw new NsboxError('UNSUPPORTED', '--lsm-profile and --lsm-mount-context require at least CRIU 3.16');
  }
  const directory = claim(root, options.id);
  const opened: number[] = [];
  const open = (file: string, flags: number) => {
    const fd = openSync(file, flags);
    opened.push(fd);
    return fd;
  };
  const session = openSession();
  let record: OciRecord | undefined;
  let held: { release(): void } | undefined;
  try {
    const host = hostFacts(ctx);
    record = newRecord(options.id, bundle, rootfs, spec);
    const groups = await prepareGroups(runtime, spec, record, host);
    save(root, record);
    saveSpec(root, options.id, spec);
    makeMountPoints(spec, rootfs);
    const criuRoot = path.join(directory, 'criu-root');
    mkdirSync(criuRoot, { mode: 0o755 });

    const passed = [session.theirs];
    const inheritFds = inheritedStdio(descriptors, record.stdio ?? []);
    const joinNamespaces: { kind: string; file: string }[] = [];
    for (const n of namespacesOutside(spec)) {
      if (n.external) {
        inheritFds.push({ key: n.external.key, fd: SOCKET_FD + passed.length });
        passed.push(openNamespace(n.path, open));
      } else if (n.kind === 'cgroup') {
        throw new InvalidError('Do not know how to handle namespace cgroup: criu joins no cgroup namespace');
      } else joinNamespaces.push({ kind: n.kind === 'mount' ? 'mnt' : n.kind, file: n.path });
    }
    if (groups && record.scope) held = await makeScope(host.cgroup, groups, record.scope);
    const cgroup = groups && launchCgroup(groups);
    const launched = await launch(
      criuPlan({
        id: options.id,
        criu,
        rootfs,
        criuRoot,
        passed,
        cgroup,
        options,
        env: environment(ctx.env),
      }),
      {
        stdio: [0, 1, 2],
        passed,
        newSession: options.detach,
      },
    );
    session.started();
    if (record.rdt) {
      const { applyRdt } = await import('../rdt.js');
      applyRdt(spec.linux!.intelRdt!, record.rdt, launched.pid);
    }
    // Who kills the container from now on finds criu, and what it has made so far, in the groups.
    // criu mounts below its work directory, so that must be one of its own mount namespace.
    const seen = (directory: string) => `/proc/${launched.pid}/root${directory}`;
    const request: CriuOptions = {
      imagesDirFd: open(seen(options.imagePath), constants.O_RDONLY | constants.O_DIRECTORY),
      workDirFd: options.workPath
        ? open(seen(options.workPath), constants.O_RDONLY | constants.O_DIRECTORY)
        : undefined,
      evasiveDevices: true,
      logLevel: 4,
      logFile: LOG,
      restoreSibling: true,
      root: criuRoot,
      manageCgroups: true,
      manageCgroupsMode: options.manageCgroupsMode,
      cgroupRoots: groupsOf(launched.pid),
      notifyScripts: true,
      shellJob: options.shellJob,
      extUnixSk: options.extUnixSk,
      tcpEstablished: options.tcpEstablished,
      fileLocks: options.fileLocks,
      emptyNamespaces: EMPTY_NETWORK,
      orphanPtsMaster: true,
      autoDedup: options.autoDedup,
      lazyPages: options.lazyPages,
      inheritFds,
      joinNamespaces,
      external: [
        ...bindsOf(spec).flatMap((m) => {
          const point = mountPointOf(rootfs, m.destination);
          return [`mnt[${point}]:${m.source!}`, ...mountsCarried(m.source!, point)];
        }),
        ...groupBindsOf(spec, record, host.cgroup).map((b) => `mnt[${b.target}]:${b.source}`),
      ],
      configFile: configFileOf(spec.annotations),
      lsmProfile: options.lsmProfile,
      lsmMountContext: options.lsmMountContext,
    };
    log(runtime.log, 'debug', `criu ${version} restores ${options.id} from ${options.imagePath}`);
    const container = record;
    let response: CriuResponse;
    try {
      response = await session.ask({ type: 'restore', options: request }, (script, pid, fds) =>
        during(script, pid, fds, { runtime, options, spec, record: container, launched }),
      );
    } catch (error) {
      if (error instanceof NsboxError && /^criu ended/.test(error.message)) {
        throw refused('RESTORE', undefined, logPath(options, LOG));
      }
      throw error;
    }
    if (!response.success || !record.init) throw refused('RESTORE', response, logPath(options, LOG));
    announce(runtime, { pidFile: options.pidFile }, record.init.pid);
    return { record, launched };
  } catch (error) {
    session.close();
    if (record) {
      await destroy(runtime, record, true).catch((e: unknown) =>
        log(runtime.log, 'warning', (e as Error).message),
      );
    } else forget(root, options.id);
    throw error;
  } finally {
    session.close();
    held?.release();
    for (const fd of opened) closeSync(fd);
  }
}

interface During {
  runtime: Runtime;
  options: RestoreOptions;
  spec: Spec;
  record: OciRecord;
  launched: Launched;
}

/** What the runtime does while criu restores. */
async function during(script: string, pid: number, fds: readonly number[], d: During): Promise<void> {
  const { runtime, options, spec, record, launched } = d;
  switch (script) {
    case 'setup-namespaces': {
      if (spec.linux?.namespaces?.some((n) => n.type === 'network' && !n.path)) {
        // It comes back empty, and `create` brings the loopback interface up.
        using netlink = new Netlink(`/proc/${pid}/ns/net`);
        netlink.run([setLinkUp('lo')]);
      }
      await inNamespaces(spec, record, pid);
      break;
    }
    case 'orphan-pts-master':
      if (fds[0] === undefined) break;
      if (options.consoleSocket) {
        const socket = connectUnix(path.resolve(runtime.ctx.cwd, options.consoleSocket));
        try {
          sendFd(socket, '/dev/ptmx', fds[0]);
        } finally {
          closeSync(socket);
        }
      } else launched.terminal = dupFd(fds[0]);
      break;
    case 'post-restore':
      record.init = { pid, startTicks: processStat(pid)?.startTicks ?? '' };
      save(runtime.root, record);
      if (!options.detach) launched.monitor.adopt(pid);
      break;
    default:
      break;
  }
}

/** @throws NotFoundError where the directory holds no images of a container */
function readDescriptors(imagePath: string): string[] {
  const file = path.join(imagePath, DESCRIPTORS);
  try {
    const list: unknown = JSON.parse(readFileSync(file, 'utf8'));
    if (Array.isArray(list) && list.every((e) => typeof e === 'string')) return list;
  } catch (error) {
    if (!isErrno(error, 'ENOENT') && !(error instanceof SyntaxError))
      throw fromErrno(`read ${file}`, error, { path: file });
    if (isErrno(error, 'ENOENT')) {
      const missing = new NotFoundError('path', file);
      missing.message = `open ${file}: no such file or directory: ${imagePath} holds no checkpoint`;
      throw missing;
    }
  }
  throw new InvalidError(`${file}: expected a JSON array of strings`);
}

/**
 * Pipes, files and terminals that the process had from its caller are replaced by what this process has as 0, 1 and 2.
 * @throws InvalidError for a socket: criu opens what it is given anew, which sockets don't allow; and for something
 * else in a terminal's place
 */
function inheritedStdio(
  descriptors: readonly string[],
  own: readonly string[],
): { key: string; fd: number }[] {
  const out = descriptors.flatMap((key, fd) => (/^(pipe|file|tty)\W/.test(key) ? [{ key, fd }] : []));
  for (const { key, fd } of out) {
    const name = ['stdin', 'stdout', 'stderr'][fd];
    if (own[fd]?.startsWith('socket:')) {
      throw new InvalidError(`cannot restore with a socket as ${name}`, {
        hint: 'give restore a pipe, a file or /dev/null there',
      });
    }
    if (key.startsWith('tty') && !isTerminal(own[fd] ?? '')) {
      throw new InvalidError(`cannot restore: ${name} was a terminal, and has to be one`, {
        hint: 'run restore on a terminal',
      });
    }
  }
  return out;
}

function openNamespace(file: string, open: (file: string, flags: number) => number): number {
  try {
    return open(file, constants.O_RDONLY);
  } catch (error) {
    throw fromErrno(`Requested namespace ${file} does not exist: open it`, error, { path: file });
  }
}

/** criu takes these instead of the groups in the images: the container's present ones, which criu itself is in. */
function groupsOf(pid: number): { controller: string; path: string }[] {
  return readFileSync(`/proc/${pid}/cgroup`, 'utf8')
    .split('\n')
    .filter(Boolean)
    .flatMap((line) => {
      const [, controllers = '', ...rest] = line.split(':');
      return controllers.split(',').map((controller) => ({ controller, path: rest.join(':') }));
    });
}

interface CriuPlace {
  id: string;
  criu: string;
  rootfs: string;
  criuRoot: string;
  passed: readonly number[];
  cgroup: PlanInput['cgroup'] | undefined;
  options: RestoreOptions;
  /** criu calls ip, tar and others. */
  env: string[];
}

/** criu as the program of a launch: with the host's rights and files, but in the container's groups. */
function criuPlan(place: CriuPlace): LaunchPlan {
  const { cgroup } = place;
  const out: LaunchPlan = {
    id: place.id,
    stdio: 'inherit',
    stdinOpen: false,
    leaveAfterStart: place.options.detach,
    dieWithRuntime: false,
    passed: place.passed.map((_, i) => `criu-${i}`),
    prepare: [],
    clone: {
      op: 'clone',
      namespaces: ['mount'],
      join: [],
      cgroup: cgroup?.into,
      keepNamespaces: false,
    },
    parent: [],
    init: [],
    exit: [],
    finish: [],
  };
  let slots = 3 + place.passed.length;
  if (cgroup) groupSteps(cgroup, () => slots++, out);
  const slot = slots++;
  out.parent.push(treeAsItIs(place.rootfs, slot));
  out.init.push(
    { op: 'propagation', flags: MS.PRIVATE | MS.REC },
    { op: 'attachAt', slot, path: place.criuRoot },
    { op: 'fds', slots: place.passed.map((_, i) => 3 + i) },
    {
      op: 'exec',
      path: '/usr/sbin:/usr/bin:/sbin:/bin',
      argv: [place.criu, 'swrk', String(SOCKET_FD)],
      env: place.env,
    },
  );
  return out;
}

/** As execve takes it; Node's own settings are none of criu's business. */
function environment(env: NodeJS.ProcessEnv): string[] {
  return Object.entries(env).flatMap(([k, v]) =>
    v === undefined || k.startsWith('NODE_') ? [] : [`${k}=${v}`],
  );
}
