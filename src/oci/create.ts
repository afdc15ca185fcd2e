import { closeSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { fromErrno, InvalidError, NsboxError, runHooks } from '../base/index.js';
import {
  type CgroupPlan,
  launchCgroup,
  makeScope,
  plannedGroups,
  removeGroups,
  stopScope,
} from '../cgroup/index.js';
import { type Launched, launch } from '../engine/launch.js';
import { type HostFacts, hostFacts } from '../host/index.js';
import { processStat, signalProcess } from '../kernel/index.js';
import { type LaunchPlan, type PlanInput, plan } from '../plan/index.js';
import { type Spec, seccompProgram } from '../spec/index.js';
import { writeFileAtomic } from '../state/index.js';
import { cgroupsPathOf, goesWithoutGroups, planGroups } from './cgroups.js';
import { checkSpec, knownCapabilities } from './check.js';
import { claim, forget, newRecord, type OciRecord, save, stateDocument } from './containers.js';
import { withHome } from './home.js';
import { log } from './log.js';
import type { Notify } from './notify.js';
import type { Runtime } from './runtime.js';
import { connectSocket, sendPidfd } from './sockets.js';
import { readBundle, saveSpec } from './spec-file.js';

/** What `create` and `run` are told. */
export interface CreateOptions {
  id: string;
  /** As given; absent: the working directory. */
  bundle?: string | undefined;
  /** File of the spec, where it isn't the bundle's config.json. */
  config?: string | undefined;
  consoleSocket?: string | undefined;
  pidfdSocket?: string | undefined;
  pidFile?: string | undefined;
  preserveFds: number;
  noPivot: boolean;
  noNewKeyring: boolean;
  /** create: init waits for `start`. run: it goes on at once, and the caller waits for its end. */
  wait: boolean;
  /** This process doesn't stay: a terminal goes to the console socket. Else it relays it. */
  detached: boolean;
}

export interface Created {
  record: OciRecord;
  launched: Launched;
  /** What the container says of being ready; only where its program runs at once. */
  notify?: Notify | undefined;
}

/**
 * Makes a container of a bundle, up to the point where init waits for `start` (or, with `wait` off, until its program
 * runs). On failure nothing of it is left.
 * @throws NsboxError
 */
export async function createContainer(runtime: Runtime, options: CreateOptions): Promise<Created> {
  const { ctx, root } = runtime;
  if (process.geteuid!() !== 0) {
    throw new NsboxError('PERMISSION', 'nsbox-oci needs root to make a container', {
      hint: 'run it as root; without root, runc and crun can make containers',
    });
  }
  const bundle = resolveBundle(ctx.cwd, options.bundle);
  const spec = await readBundle(runtime, path.resolve(bundle, options.config ?? 'config.json'));
  checkSpec(spec);
  spec.process = knownCapabilities(runtime, spec.process!);
  warnOfAmbient(runtime, spec);
  const rootfs = path.resolve(bundle, spec.root!.path);
  const terminal = spec.process?.terminal ?? false;
  if (terminal && !options.consoleSocket && options.detached) {
    throw new InvalidError('cannot allocate tty if runc will detach without setting console socket', {
      hint: 'give --console-socket, or set process.terminal to false',
    });
  }
  if ((!terminal || !options.detached) && options.consoleSocket) throw uselessConsoleSocket();
  const directory = claim(root, options.id);
  const passed: number[] = [];
  const opened: number[] = [];
  let record: OciRecord | undefined;
  let held: { release(): void } | undefined;
  let notify: Notify | undefined;
  try {
    const host = hostFacts(ctx);
    record = newRecord(options.id, bundle, rootfs, spec);
    const groups = await prepareGroups(runtime, spec, record, host);
    const notifySocket = ctx.env['NOTIFY_SOCKET'];
    if (notifySocket) {
      const { listenNotify, setUpNotify } = await import('./notify.js');
      setUpNotify(spec, directory);
      if (!options.wait) notify = listenNotify(directory, notifySocket, ctx.warn);
    }
    const cgroup = groups && launchCgroup(groups);
    // From here on a crash leaves something, and the record says what.
    save(root, record);
    saveSpec(root, options.id, spec);

    const names: string[] = [];
    const pass = (name: string, fd: number) => {
      names.push(name);
      passed.push(fd);
    };
    if (options.consoleSocket) {
      const fd = connectSocket('the console socket', path.resolve(ctx.cwd, options.consoleSocket));
      opened.push(fd);
      pass('console', fd);
    }
    const listenFds = Number(ctx.env['LISTEN_FDS'] ?? 0) || 0;
    const preserve = options.preserveFds + listenFds;
    for (let i = 0; i < preserve; i++) pass(`preserve-${i}`, 3 + i);
    if (listenFds > 0)
      spec.process!.env = [...(spec.process!.env ?? []), `LISTEN_FDS=${listenFds}`, 'LISTEN_PID=1'];

    const state = (status: string, pid: number) => stateDocument(record!, status, pid);
    const input: PlanInput = {
      id: options.id,
      spec: {
        ...spec,
        root: { ...spec.root!, path: rootfs },
        process: withHome(knownCapabilities(runtime, spec.process!), rootfs),
      },
      host,
      rootfs: { kind: 'directory', path: rootfs, idmap: false },
      stdio: terminal ? (options.consoleSocket ? 'console-socket' : 'runtime-terminal') : 'inherit',
      ...(cgroup ? { cgroup } : {}),
      dieWithMonitor: false,
      runtimeHooks: true,
      // In the container's namespaces its pid is what it is there.
      hookState: JSON.stringify(state('created', record.ownPid ? 1 : 0)),
      preserve,
      noPivot: options.noPivot,
      noNewKeyring: options.noNewKeyring,
      ...(options.wait ? { waitStart: { directory, name: 'start.sock' } } : {}),
    };
    if (spec.linux?.seccomp) {
      const { program, flags, notify } = seccompProgram(ctx, spec.linux.seccomp, host.machine);
      input.seccomp = { program, flags };
      if (notify) {
        const fd = connectSocket('the seccomp listener', spec.linux.seccomp.listenerPath!);
        opened.push(fd);
        pass('seccomp', fd);
        input.seccomp.listener = {
          passed: 'seccomp',
          state: JSON.stringify({
            ociVersion: spec.ociVersion,
            fds: ['seccompFd'],
            pid: 0,
            metadata: spec.linux.seccomp.listenerMetadata ?? '',
            state: { ...state('creating', 0), pid: 0 },
          }),
        };
      }
    }
    if (input.stdio === 'runtime-terminal') {
      const { ownTerminalSize } = await import('./foreground.js');
      const size = ownTerminalSize();
      if (size) input.terminalSize = size;
    }
    input.passed = names;
    const launchPlan = plan(input);
    for (const step of launchPlan.init) {
      if (step.op === 'hook' && step.kind === 'createContainer') {
        step.state = JSON.stringify(state('creating', record.ownPid ? 1 : 0));
      }
    }
    if (runtime.log.debug) await logPlan(runtime, launchPlan);
    if (groups && record.scope) held = await makeScope(host.cgroup, groups, record.scope);
    const launched = await launch(launchPlan, {
      stdio: [0, 1, 2],
      passed,
      newSession: options.wait,
      sync: {
        createRuntime: async (pid) => {
          record!.init = { pid, startTicks: processStat(pid)?.startTicks ?? '' };
          save(root, record!);
          if (record!.rdt) {
            const { applyRdt } = await import('./rdt.js');
            applyRdt(spec.linux!.intelRdt!, record!.rdt, pid);
          }
          // While init waits: a short program may be gone once the launch is over.
          if (options.pidfdSocket) sendPidfd(path.resolve(ctx.cwd, options.pidfdSocket), pid);
          await inNamespaces(spec, record!, pid);
        },
      },
    });
    record.init = { pid: launched.pid, startTicks: processStat(launched.pid)?.startTicks ?? '' };
    save(root, record);
    announce(runtime, { ...options, pidfdSocket: undefined }, launched.pid);
    if (!options.wait) await poststart(record);
    return { record, launched, notify };
  } catch (error) {
    notify?.close();
    if (record) await undo(runtime, record);
    else forget(root, options.id);
    throw error;
  } finally {
    held?.release();
    for (const fd of opened) closeSync(fd);
  }
}

/** What the runtime does once the container's namespaces exist: network devices move in, then its hooks run. */
export async function inNamespaces(spec: Spec, record: OciRecord, pid: number): Promise<void> {
  if (spec.linux?.netDevices) {
    const { moveNetDevices } = await import('./net-devices.js');
    moveNetDevices(spec.linux.netDevices, pid);
  }
  const state = stateDocument(record, 'creating', pid);
  await runHooks('prestart', spec.hooks?.prestart, state);
  await runHooks('createRuntime', spec.hooks?.createRuntime, state);
}

/**
 * Hooks after the program has started.
 * @throws LaunchError where one fails; the container is stopped then, as the standard asks
 */
export async function poststart(record: OciRecord): Promise<void> {
  const init = record.init ?? { pid: 0, startTicks: '' };
  try {
    await runHooks('poststart', record.hooks?.poststart, stateDocument(record, 'running', init.pid));
  } catch (error) {
    if (init.pid > 0) signalProcess(init, 9);
    throw error;
  }
}

/** Hooks after the container is gone: each runs, whatever those before it did. */
export async function poststop(runtime: Runtime, record: OciRecord): Promise<void> {
  for (const hook of record.hooks?.poststop ?? []) {
    try {
      await runHooks('poststop', [hook], stateDocument(record, 'stopped', 0));
    } catch (error) {
      log(runtime.log, 'warning', (error as Error).message);
    }
  }
}

/** An ambient capability that isn't permitted and inheritable too is not raised: said, since it isn't done. */
function warnOfAmbient(runtime: Runtime, spec: Spec): void {
  const { ambient, permitted, inheritable } = spec.process?.capabilities ?? {};
  const lost = (ambient ?? []).filter((c) => !permitted?.includes(c) || !inheritable?.includes(c));
  if (lost.length === 0) return;
  log(
    runtime.log,
    'warning',
    `process.capabilities.ambient: not permitted and inheritable, and so not raised: ${lost.join(', ')}`,
  );
}

/** @throws NsboxError where there is no such directory */
export function resolveBundle(cwd: string, given: string | undefined): string {
  const bundle = path.resolve(cwd, given ?? '.');
  try {
    return realpathSync(bundle);
  } catch (error) {
    throw fromErrno(`open the bundle ${bundle}`, error, { path: bundle });
  }
}

/** Plans the container's groups, of cgroups and of the resctrl filesystem, and puts them on record. */
export async function prepareGroups(
  runtime: Runtime,
  spec: Spec,
  record: OciRecord,
  host: HostFacts,
): Promise<CgroupPlan | undefined> {
  if (spec.linux?.intelRdt) {
    const { prepareRdt } = await import('./rdt.js');
    record.rdt = prepareRdt(spec.linux.intelRdt, record.id);
  }
  if (runtime.cgroupManager === 'disabled') return undefined;
  const place = cgroupsPathOf(runtime, spec, record.id, host.cgroup);
  const groups = planGroups(spec, place, host);
  if (runtime.rootless && !place.scope && goesWithoutGroups(runtime, spec, groups)) return undefined;
  for (const warning of groups.warnings) log(runtime.log, 'warning', warning);
  record.cgroup = groups.path;
  record.groups = plannedGroups(groups);
  if (place.scope) record.scope = place.scope;
  return groups;
}

/** pid file, and the pidfd socket. */
export function announce(
  runtime: Runtime,
  options: Pick<CreateOptions, 'pidFile' | 'pidfdSocket'>,
  pid: number,
): void {
  if (options.pidFile) {
    writeFileAtomic(path.resolve(runtime.ctx.cwd, options.pidFile), String(pid), {
      durable: false,
      mode: 0o644,
    });
  }
  if (options.pidfdSocket) sendPidfd(path.resolve(runtime.ctx.cwd, options.pidfdSocket), pid);
}

/** After a failed create: processes, groups, directory; then the hooks that the standard wants in this case too. */
async function undo(runtime: Runtime, record: OciRecord): Promise<void> {
  try {
    // Where it has groups that kills all in them; without, the program may be running by now.
    if (record.init) signalProcess(record.init, 9);
    await removeGroups(record.groups);
    if (record.scope) await stopScope(hostFacts(runtime.ctx).cgroup, record.scope);
    if (record.rdt) (await import('./rdt.js')).removeRdt(record.rdt);
    await poststop(runtime, record);
  } catch (error) {
    log(runtime.log, 'warning', (error as Error).message);
  }
  forget(runtime.root, record.id);
}

/** Engines tell by runc's words that the flag and the process don't go together. */
export function uselessConsoleSocket(): InvalidError {
  return new InvalidError('cannot use console socket if runc will not detach or allocate tty', {
    hint: 'leave --console-socket out, or ask for a terminal and detach',
  });
}

/** `--debug`: each step that is about to be taken, in the words of `nsbox run --explain`. */
export async function logPlan(runtime: Runtime, made: LaunchPlan): Promise<void> {
  const { explainSteps } = await import('../plan/index.js');
  for (const step of explainSteps(made)) {
    log(runtime.log, 'debug', `step ${step.number}, ${step.who}: ${step.title}: ${step.calls}`);
  }
}
