import { closeSync, readlinkSync } from 'node:fs';
import path from 'node:path';
import { ConflictError, fromErrno, isErrno } from '../base/index.js';
import { type Launched, launch } from '../engine/launch.js';
import { hostFacts } from '../host/index.js';
import { processStat, signalProcess } from '../kernel/index.js';
import { listMask, type NamespaceKind, type PlanInput, plan, type Step } from '../plan/index.js';
import { type NamespaceType, type Spec, type SpecProcess, seccompProgram } from '../spec/index.js';
import { writeFileAtomic } from '../state/index.js';
import { knownCapabilities } from './check.js';
import { type OciRecord, stateDocument, statusOf } from './containers.js';
import { withHome } from './home.js';
import type { Runtime } from './runtime.js';
import { connectSocket, sendPidfd } from './sockets.js';

export interface ExecOptions {
  process: SpecProcess;
  /** The container's spec: seccomp and id maps come from it. */
  spec: Spec;
  detach: boolean;
  consoleSocket?: string | undefined;
  pidfdSocket?: string | undefined;
  pidFile?: string | undefined;
  preserveFds: number;
  ignorePaused: boolean;
  /** Groups below the container's own: v2 path, or by v1 controller. */
  subCgroups: Record<string, string>;
}

const NAMESPACE_FILES: [NamespaceType, string][] = [
  ['user', 'user'],
  ['mount', 'mnt'],
  ['pid', 'pid'],
  ['network', 'net'],
  ['ipc', 'ipc'],
  ['uts', 'uts'],
  ['cgroup', 'cgroup'],
  ['time', 'time'],
];

/**
 * Runs another process in a container: in its namespaces and groups, with its seccomp policy.
 * @throws ConflictError where the container doesn't run; LaunchError
 */
export async function execInContainer(
  runtime: Runtime,
  record: OciRecord,
  options: ExecOptions,
): Promise<Launched> {
  const status = statusOf(runtime.root, record);
  if (status === 'stopped' || status === 'creating' || !record.init) {
    throw new ConflictError('cannot exec in a stopped container');
  }
  if (status === 'paused' && !options.ignorePaused) {
    throw new ConflictError('cannot exec in a paused container (use --ignore-paused to override)');
  }
  const { ctx } = runtime;
  const { pid } = record.init;
  const kinds = differentNamespaces(pid);
  const host = hostFacts(ctx);
  const pidfdSocket = options.pidfdSocket && path.resolve(ctx.cwd, options.pidfdSocket);
  const passed: number[] = [];
  const names: string[] = [];
  const opened: number[] = [];
  const pass = (name: string, fd: number) => {
    names.push(name);
    passed.push(fd);
  };
  try {
    if (options.consoleSocket) {
      const fd = connectSocket('the console socket', path.resolve(ctx.cwd, options.consoleSocket));
      opened.push(fd);
      pass('console', fd);
    }
    for (let i = 0; i < options.preserveFds; i++) pass(`preserve-${i}`, 3 + i);
    const linux = options.spec.linux ?? {};
    const into = record.groups.unified;
    const input: PlanInput = {
      id: record.id,
      spec: {
        ociVersion: record.ociVersion,
        process: withHome(knownCapabilities(runtime, options.process), `/proc/${pid}/root`),
        linux: {
          namespaces: kinds.map((type) => ({ type, path: `/proc/${pid}/ns/${type}` })),
          uidMappings: linux.uidMappings,
          gidMappings: linux.gidMappings,
          personality: linux.personality,
        },
      },
      host,
      rootfs: { kind: 'directory', path: record.rootfs, idmap: false },
      stdio: options.process.terminal
        ? options.consoleSocket
          ? 'console-socket'
          : 'runtime-terminal'
        : 'inherit',
      cgroup: {
        steps: [],
        ...(into ? { into: below(into, options.subCgroups['']) } : {}),
        join: Object.entries(record.groups.v1).map(([controller, group]) =>
          below(group, options.subCgroups[controller]),
        ),
        remove: [],
      },
      dieWithMonitor: false,
      preserve: options.preserveFds,
    };
    if (linux.seccomp) {
      const { program, flags, notify } = seccompProgram(ctx, linux.seccomp, host.machine);
      input.seccomp = { program, flags };
      if (notify) {
        const fd = connectSocket('the seccomp listener', linux.seccomp.listenerPath!);
        opened.push(fd);
        pass('seccomp', fd);
        input.seccomp.listener = {
          passed: 'seccomp',
          state: JSON.stringify({
            ociVersion: record.ociVersion,
            fds: ['seccompFd'],
            pid: 0,
            metadata: linux.seccomp.listenerMetadata ?? '',
            state: stateDocument(record, 'running', pid),
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
    const made = plan(input);
    // All of the container's namespaces at once, of this very process: setns(2) with a pidfd.
    made.clone.join = [{ namespaces: kinds as NamespaceKind[], pid }];
    made.leaveAfterStart = options.detach;
    const affinity = options.process.execCPUAffinity;
    const cpus = affinity?.final || affinity?.initial;
    if (cpus) {
      const at = made.init.findIndex((s) => s.op === 'fds');
      made.init.splice(at, 0, { op: 'affinity', mask: listMask(cpus), cpus } satisfies Step);
    }
    if (runtime.log.debug) {
      const { logPlan } = await import('./create.js');
      await logPlan(runtime, made);
    }
    const launched = await launch(made, {
      stdio: [0, 1, 2],
      passed,
      newSession: options.detach,
    });
    try {
      if (options.pidFile) {
        writeFileAtomic(path.resolve(ctx.cwd, options.pidFile), String(launched.pid), {
          durable: false,
          mode: 0o644,
        });
      }
      if (pidfdSocket) sendPidfd(pidfdSocket, launched.pid);
    } catch (error) {
      // The caller is told that nothing runs, so nothing may.
      const startTicks = processStat(launched.pid)?.startTicks;
      if (startTicks) signalProcess({ pid: launched.pid, startTicks }, 9);
      throw error;
    }
    return launched;
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

/** The namespaces of a process that aren't ours: joining one's own user namespace is an error. */
export function differentNamespaces(pid: number): NamespaceType[] {
  const id = (who: string, name: string): string | undefined => {
    try {
      return readlinkSync(`/proc/${who}/ns/${name}`);
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined;
      throw fromErrno(`look into the namespaces of process ${who}`, error);
    }
  };
  return NAMESPACE_FILES.filter(([, file]) => id(String(pid), file) !== id('self', file)).map(
    ([type]) => type,
  );
}

function below(group: string, sub: string | undefined): string {
  return sub ? path.posix.join(group, path.posix.join('/', sub)) : group;
}
