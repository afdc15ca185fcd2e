import { InvalidError } from '../base/index.js';
import type { IdMapping, SpecProcess } from '../spec/index.js';
import { rlimitStep } from './identity.js';
import type { PlanInput } from './input.js';
import { become, consoleStep, enterGroups, hostId } from './plan.js';
import type { LaunchPlan, NamespaceKind, StdioMode } from './steps.js';

/** What decides how a further process enters a container that runs. */
export interface ExecInput {
  id: string;
  /** The container's first process, seen from the host. */
  pid: number;
  /** Namespaces to enter: those the container has of its own, the host's being ours already. */
  namespaces: NamespaceKind[];
  process: SpecProcess;
  /** Id maps of the container's user namespace. */
  uidMappings?: IdMapping[] | undefined;
  gidMappings?: IdMapping[] | undefined;
  /** Groups the process is born in (v2), and put into (v1). */
  cgroup?: { into?: string | undefined; join: string[] } | undefined;
  seccomp?: PlanInput['seccomp'];
  personality?: number | undefined;
  stdio: StdioMode;
  stdinOpen?: boolean;
  terminalSize?: { rows: number; columns: number } | undefined;
  dieWithRuntime?: boolean;
  dieWithMonitor?: boolean;
  /** OCI exec -d: the monitor leaves, the process belongs to the caller's subreaper. */
  passed?: string[];
  preserve?: number;
}

/**
 * A process → plan. The namespaces are joined by one setns(2) with a pidfd, so that none of them can be another
 * container's that took over the pid in between.
 * @throws InvalidError INVALID_SPEC
 */
export function planExec(input: ExecInput): LaunchPlan {
  const { process } = input;
  if (!process.args?.length) {
    throw new InvalidError('process.args: expected at least the program, found nothing', {
      code: 'INVALID_SPEC',
    });
  }
  const passed = input.passed ?? [];
  const passedSlot = (name: string) => 3 + passed.indexOf(name);
  const user = input.namespaces.includes('user');
  const out: LaunchPlan = {
    id: input.id,
    stdio: input.stdio,
    stdinOpen: input.stdinOpen ?? false,
    leaveAfterStart: false,
    dieWithRuntime: input.dieWithRuntime ?? false,
    passed,
    prepare: [],
    clone: {
      op: 'clone',
      namespaces: [],
      join: input.namespaces.length ? [{ namespaces: input.namespaces, pid: input.pid }] : [],
      cgroup: input.cgroup?.into,
      keepNamespaces: false,
    },
    parent: [],
    init: [],
    exit: [],
    finish: [],
  };
  let slots = 3 + passed.length;
  enterGroups(input.cgroup?.join ?? [], () => slots++, out);
  out.parent.push(...rlimitStep(process));
  if (process.oomScoreAdj !== undefined) {
    out.parent.push({ op: 'procWrite', name: 'oom_score_adj', data: String(process.oomScoreAdj) });
  }
  if (input.stdio === 'pipes' || input.stdio === 'inherit') {
    out.parent.push({
      op: 'stdioOwner',
      uid: hostId(input.uidMappings, process.user.uid),
      gid: hostId(input.gidMappings, process.user.gid),
    });
  }
  if (user) out.init.push({ op: 'namespaceRoot' });
  out.init.push({ op: 'setsid' });
  const around: PlanInput = {
    id: input.id,
    spec: {
      ociVersion: '1.3.0',
      process,
      linux: input.personality ? { personality: { domain: 'LINUX32' } } : {},
    },
    host: undefined as never, // no step below asks about the host
    rootfs: { kind: 'directory', path: '/', idmap: false },
    stdio: input.stdio,
    ...(input.terminalSize ? { terminalSize: input.terminalSize } : {}),
    ...(input.seccomp ? { seccomp: input.seccomp } : {}),
    dieWithMonitor: input.dieWithMonitor ?? true,
    passed,
    preserve: input.preserve ?? 0,
  };
  if (process.terminal) out.init.push(consoleStep(around, process, false, passedSlot));
  become(around, process, out, { userNamespace: user, passedSlot });
  return out;
}
