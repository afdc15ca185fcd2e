import { closeSync, constants, openSync } from 'node:fs';
import { ConflictError, type Context, NsboxError } from '../base/index.js';
import { findGroups, isFrozen } from '../cgroup/index.js';
import { openat2, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS } from '../kernel/index.js';
import { type NamespaceKind, planExec } from '../plan/index.js';
import {
  capabilitySets,
  effectiveCapabilities,
  emptyRequest,
  type ResolvedUser,
  type RootfsReader,
  resolveUser,
  type Spec,
  type SpecProcess,
  seccompProgram,
} from '../spec/index.js';
import { readRecord } from '../state/index.js';
import { containerState } from './containers.js';
import { emitEvent } from './emit.js';
import { type Launched, launch } from './launch.js';
import { containerPaths } from './paths.js';
import type { ContainerRecord } from './records.js';
import { readFdText } from './rootfs-reader.js';
import { factsOf } from './sandbox.js';

export interface ExecRequest {
  command: string[];
  env?: string[] | undefined;
  workdir?: string | undefined;
  /** `user[:group]`, in the container's own names. */
  user?: string | undefined;
  privileged?: boolean | undefined;
  tty?: boolean | undefined;
  terminalSize?: { rows: number; columns: number } | undefined;
  /** Fds for 0, 1, 2; -1: /dev/null. With a tty they aren't used: `Launched.terminal` is its master. */
  stdio: [number, number, number];
  /** The end of this process kills the program (library). */
  dieWithRuntime?: boolean | undefined;
}

/** Where a process enters: a running container or sandbox. */
export interface ExecTarget {
  id: string;
  pid: number;
  spec: Spec;
  /** Path of its group below the hierarchies. */
  cgroup: string;
  idRange: { start: number; size: number } | undefined;
}

/**
 * Runs a further program in a running container: same namespaces, cgroup, capabilities and filter.
 * @throws ConflictError where it doesn't run or is paused; LaunchError with exit code 126 or 127
 */
export async function execInContainer(
  ctx: Context,
  record: ContainerRecord,
  request: ExecRequest,
): Promise<Launched> {
  const state = containerState(ctx, record);
  if (state.status !== 'running' || !state.running?.pid) {
    throw new ConflictError(`container ${record.id} is not running`, {
      hint: `nsbox start ${record.name}`,
      exitCode: 1,
    });
  }
  const groups = findGroups(factsOf(ctx).cgroup, record.cgroup);
  if (isFrozen(groups)) {
    throw new ConflictError(`Container ${record.name} is paused, unpause the container before exec`, {
      exitCode: 1,
    });
  }
  const spec = readRecord<Spec>(containerPaths(ctx, record.id).spec);
  if (!spec) throw new NsboxError('INTERNAL', `container ${record.name} runs without a config.json`);
  const launched = await execInTarget(
    ctx,
    {
      id: record.id,
      pid: state.running.pid,
      spec,
      cgroup: record.cgroup,
      idRange: record.idRange,
    },
    request,
  );
  emitEvent(ctx, `exec_start: ${request.command.join(' ')}`, record);
  return launched;
}

/** As execInContainer, for anything with a pid and a spec. */
export async function execInTarget(
  ctx: Context,
  target: ExecTarget,
  request: ExecRequest,
): Promise<Launched> {
  const host = factsOf(ctx);
  const { spec } = target;
  const groups = findGroups(host.cgroup, target.cgroup);
  const kinds = (spec.linux?.namespaces ?? []).map((n) => n.type as NamespaceKind);
  const own = spec.process!;
  const user = request.user ? userOf(target.pid, request.user) : undefined;
  const process: SpecProcess = {
    ...own,
    terminal: request.tty ?? false,
    args: request.command,
    env: environment(own, request, user),
    cwd: request.workdir ?? own.cwd,
    user: user ? { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids } : own.user,
    oomScoreAdj: undefined,
  };
  if (request.privileged || user) {
    const names = request.privileged
      ? effectiveCapabilities({ ...emptyRequest(), privileged: true }, host.capabilities.bounding)
      : (own.capabilities?.bounding ?? []);
    process.capabilities = capabilitySets(names, process.user.uid);
  }
  const seccomp =
    !request.privileged && spec.linux?.seccomp
      ? seccompProgram(ctx, spec.linux.seccomp, host.machine)
      : undefined;
  const plan = planExec({
    id: target.id,
    pid: target.pid,
    namespaces: kinds,
    process,
    uidMappings: spec.linux?.uidMappings,
    gidMappings: spec.linux?.gidMappings,
    cgroup: { into: groups.unified ?? undefined, join: [...new Set(Object.values(groups.v1))] },
    seccomp: seccomp && { program: seccomp.program, flags: seccomp.flags },
    stdio: request.tty ? 'runtime-terminal' : 'inherit',
    terminalSize: request.terminalSize,
    dieWithRuntime: request.dieWithRuntime ?? false,
  });
  return launch(plan, { stdio: request.stdio, newSession: true });
}

function environment(own: SpecProcess, request: ExecRequest, user: ResolvedUser | undefined): string[] {
  const env = new Map<string, string>();
  for (const entry of [
    ...(own.env ?? []),
    ...(request.tty ? ['TERM=xterm'] : []),
    ...(user ? [`HOME=${user.home}`] : []),
    ...(request.env ?? []),
  ]) {
    env.set(entry.split('=', 1)[0]!, entry);
  }
  return [...env.values()];
}

/** Looks a user up in the container as it is now, mounts included; no link in it leads out. */
function userOf(pid: number, user: string): ResolvedUser {
  const root = openSync(`/proc/${pid}/root`, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const read: RootfsReader = (file) => {
      try {
        return readFdText(
          openat2(
            root,
            file,
            constants.O_RDONLY | constants.O_NONBLOCK,
            0,
            RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
          ),
        );
      } catch {
        return undefined;
      }
    };
    return resolveUser(user, [], read);
  } finally {
    closeSync(root);
  }
}
