import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, watch, writeFileSync } from 'node:fs';
import { fromErrno, isErrno, monotonicMs, NsboxError, UnsupportedError } from '../base/index.js';
import type { CgroupFacts } from '../host/index.js';
import { ancestors, DEFAULT_PARENT, normal } from './path.js';

/** The groups of one container that exist, by absolute directory. */
export interface Groups {
  /** cgroup2, or null. */
  unified: string | null;
  /** v1 controller → directory. */
  v1: Record<string, string>;
}

/** Finds the groups that exist for a path below the root of the hierarchies. */
export function findGroups(facts: CgroupFacts, path: string): Groups {
  const below = normal(path);
  const unified = facts.unified && existsSync(facts.unified + below) ? facts.unified + below : null;
  const v1: Record<string, string> = {};
  for (const [controller, mount] of Object.entries(facts.v1)) {
    if (existsSync(mount + below)) v1[controller] = mount + below;
  }
  return { unified, v1 };
}

/** All directories of the groups, each once. */
export function directoriesOf(groups: Groups): string[] {
  return [...new Set([...(groups.unified ? [groups.unified] : []), ...Object.values(groups.v1)])];
}

/** Reads a file of a group; undefined where group or file is gone. */
export function readGroupFile(directory: string, name: string): string | undefined {
  try {
    return readFileSync(`${directory}/${name}`, 'latin1');
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENODEV', 'EOPNOTSUPP', 'ENOTSUP')) return undefined;
    throw fromErrno(`read ${directory}/${name}`, error, { path: `${directory}/${name}` });
  }
}

/** Writes a file of a group. The kernel takes a value at once or refuses it. */
export function writeGroupFile(directory: string, name: string, value: string): void {
  try {
    writeFileSync(`${directory}/${name}`, value);
  } catch (error) {
    throw fromErrno(`write ${value} to ${directory}/${name}`, error, { path: `${directory}/${name}` });
  }
}

/** Value of one key of a `key value` file such as cgroup.events; undefined where it isn't there. */
export function keyOf(text: string | undefined, key: string): number | undefined {
  const m = text === undefined ? null : new RegExp(`^${key} (\\d+)`, 'm').exec(text);
  return m ? Number(m[1]) : undefined;
}

/** Pids in a group and the groups below it, as this pid namespace sees them. */
export function pidsIn(directory: string): number[] {
  const own = (readGroupFile(directory, 'cgroup.procs') ?? '').split('\n').filter(Boolean).map(Number);
  return [...own, ...childrenOf(directory).flatMap(pidsIn)];
}

function childrenOf(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true })
      .filter((e) => e.isDirectory())
      .map((e) => `${directory}/${e.name}`);
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENODEV')) return [];
    throw fromErrno(`list ${directory}`, error, { path: directory });
  }
}

/**
 * Waits until `done` says so, looking again whenever the kernel reports a change of the file (inotify).
 * @returns false after `timeoutMs`
 */
export async function waitForFile(file: string, done: () => boolean, timeoutMs: number): Promise<boolean> {
  if (done()) return true;
  let watcher: ReturnType<typeof watch>;
  try {
    watcher = watch(file, { persistent: true });
  } catch {
    return done();
  }
  try {
    return await new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => resolve(done()), timeoutMs);
      const look = (): void => {
        if (!done()) return;
        clearTimeout(timer);
        resolve(true);
      };
      watcher.on('change', look);
      watcher.on('error', look);
      // It may have happened between the first look and the watch.
      look();
    });
  } finally {
    watcher.close();
  }
}

/** Freezes every process of a container and waits until all are. Frozen already is fine. See cgroup.freeze in cgroup-v2.rst. */
export async function freeze(groups: Groups, timeoutMs = 10_000): Promise<void> {
  await setFrozen(groups, true, timeoutMs);
}

/** Lets a frozen container run on. */
export async function thaw(groups: Groups, timeoutMs = 10_000): Promise<void> {
  await setFrozen(groups, false, timeoutMs);
}

async function setFrozen(groups: Groups, frozen: boolean, timeoutMs: number): Promise<void> {
  const verb = frozen ? 'pause' : 'unpause';
  const { unified } = groups;
  if (unified && existsSync(`${unified}/cgroup.freeze`)) {
    writeGroupFile(unified, 'cgroup.freeze', frozen ? '1' : '0');
    const events = `${unified}/cgroup.events`;
    const done = (): boolean => keyOf(readGroupFile(unified, 'cgroup.events'), 'frozen') === (frozen ? 1 : 0);
    if (await waitForFile(events, done, timeoutMs)) return;
    if (frozen) writeGroupFile(unified, 'cgroup.freeze', '0');
    throw new NsboxError(
      'TIMEOUT',
      `cannot ${verb}: a process in ${unified} did not stop within ${timeoutMs} ms`,
      {
        path: unified,
        hint: 'a process that waits in the kernel (state D) cannot be frozen; look for it in /proc/PID/stack',
      },
    );
  }
  const freezer = groups.v1['freezer'];
  if (!freezer) {
    throw new UnsupportedError(`cannot ${verb}: neither cgroup2 nor a v1 freezer hierarchy is mounted`, {
      hint: 'mount cgroup2: mount -t cgroup2 none /sys/fs/cgroup',
    });
  }
  const wanted = frozen ? 'FROZEN' : 'THAWED';
  const end = monotonicMs() + timeoutMs;
  // v1 reports nothing: FREEZING becomes FROZEN when asked again.
  while (monotonicMs() < end) {
    writeGroupFile(freezer, 'freezer.state', wanted);
    if (readGroupFile(freezer, 'freezer.state')?.trim() === wanted) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  throw new NsboxError('TIMEOUT', `cannot ${verb}: ${freezer}/freezer.state did not become ${wanted}`, {
    path: freezer,
  });
}

/** Whether the container is frozen (or on its way). */
export function isFrozen(groups: Groups): boolean {
  if (groups.unified) {
    const frozen = readGroupFile(groups.unified, 'cgroup.freeze');
    if (frozen !== undefined) return frozen.trim() === '1';
  }
  const freezer = groups.v1['freezer'];
  return freezer !== undefined && /FR/.test(readGroupFile(freezer, 'freezer.state') ?? '');
}

/** Sends SIGKILL to every process of a container, also to frozen ones and to those being forked meanwhile. */
export function killAll(groups: Groups): void {
  const { unified } = groups;
  if (unified && existsSync(`${unified}/cgroup.kill`)) {
    try {
      writeFileSync(`${unified}/cgroup.kill`, '1');
    } catch (error) {
      // Its monitor removed it at this moment: nobody is left to kill.
      if (!isErrno(error, 'ENOENT', 'ENODEV'))
        throw fromErrno(`kill what is in ${unified}`, error, { path: unified });
    }
    return;
  }
  // Linux before 5.14, or v1: round after round, until nobody is left to fork. A frozen v1 group must be thawed to die.
  const directories = directoriesOf(groups);
  for (let round = 0; round < 20; round++) {
    const pids = [...new Set(directories.flatMap(pidsIn))].filter((pid) => pid > 1 && pid !== process.pid);
    if (pids.length === 0) break;
    for (const pid of pids) signal(pid);
    if (groups.v1['freezer'] && isFrozen(groups))
      writeGroupFile(groups.v1['freezer'], 'freezer.state', 'THAWED');
  }
  if (unified && isFrozen(groups)) writeGroupFile(unified, 'cgroup.freeze', '0');
}

function signal(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!isErrno(error, 'ESRCH')) throw fromErrno(`kill process ${pid}`, error);
  }
}

/** Whether any process is left in the groups. */
export function isPopulated(groups: Groups): boolean {
  if (groups.unified) {
    const populated = keyOf(readGroupFile(groups.unified, 'cgroup.events'), 'populated');
    if (populated !== undefined) return populated !== 0;
  }
  return directoriesOf(groups).some((d) => pidsIn(d).length > 0);
}

/**
 * Removes the groups with everything below them; what is gone already is fine. Waits for processes that are dying.
 * @throws NsboxError SYSCALL EBUSY after `timeoutMs` with processes still there, naming some of them
 */
export async function removeGroups(groups: Groups, timeoutMs = 5_000): Promise<void> {
  const end = monotonicMs() + timeoutMs;
  const { unified } = groups;
  if (unified) {
    await waitForFile(`${unified}/cgroup.events`, () => !isPopulated({ unified, v1: {} }), timeoutMs);
  }
  for (const directory of directoriesOf(groups)) {
    for (let pause = 0.5; ; pause = Math.min(pause * 2, 50)) {
      const busy = removeTree(directory);
      if (!busy) break;
      if (monotonicMs() > end) {
        const pids = pidsIn(directory).slice(0, 5);
        throw new NsboxError('SYSCALL', `cannot remove the cgroup ${directory}: processes are still in it`, {
          syscall: 'rmdir',
          errno: 'EBUSY',
          path: directory,
          hint:
            pids.length > 0 ? `look at process ${pids.join(', ')}` : 'something else holds a group below it',
        });
      }
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}

/** rmdir from the leaves up; returns false when all is gone. */
function removeTree(directory: string): boolean {
  try {
    rmdirSync(directory);
    return false;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    if (!isErrno(error, 'EBUSY', 'ENOTEMPTY'))
      throw fromErrno(`remove the cgroup ${directory}`, error, { path: directory });
  }
  for (const child of childrenOf(directory)) removeTree(child);
  try {
    rmdirSync(directory);
    return false;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false;
    return true;
  }
}

/**
 * Removes empty parents that nsbox made (/nsbox and below), so that nothing is left when the last container is gone.
 * A start that makes them again at the same time wins.
 */
export function removeEmptyParents(facts: CgroupFacts, path = `${DEFAULT_PARENT}/x`): void {
  const mounts = [...(facts.unified ? [facts.unified] : []), ...Object.values(facts.v1)];
  for (const mount of new Set(mounts)) {
    for (const level of ancestors(path).reverse()) {
      try {
        rmdirSync(mount + level);
      } catch {
        break;
      }
    }
  }
}

/** Ids of the groups below /nsbox (or another parent): what recovery compares with the containers it knows. */
export function listGroups(facts: CgroupFacts, parent = DEFAULT_PARENT): string[] {
  const mounts = [...(facts.unified ? [facts.unified] : []), ...Object.values(facts.v1)];
  const names = new Set<string>();
  for (const mount of new Set(mounts)) {
    for (const child of childrenOf(mount + normal(parent)))
      names.add(child.slice(child.lastIndexOf('/') + 1));
  }
  return [...names].sort();
}

/** Where the processes go that were in our root when controllers are to be handed down. */
const OUTSIDE = '/nsbox.host';

/**
 * Makes the tree ready for groups with controllers. At the real root there is nothing to do. Inside a container (or a
 * delegated service) our root is an ordinary group, and cgroup2 forbids a group with controllers for its children to
 * hold processes itself: those that are there move to a leaf of their own.
 * @throws UnsupportedError where the group is threaded, or processes keep appearing
 */
export function readyCgroups(facts: CgroupFacts): void {
  const { unified } = facts;
  if (facts.realRoot || !unified || !facts.writable || facts.controllers.length === 0) return;
  // Facts are kept; this one changes as groups come and go.
  const type = readGroupFile(unified, 'cgroup.type')?.trim() ?? 'domain';
  if (type !== 'domain') {
    throw new UnsupportedError(
      `cgroup2 at ${unified} is of type "${type}": it cannot hand controllers down`,
      {
        path: `${unified}/cgroup.type`,
        hint: 'start this container or service in a group of type "domain" (not below a threaded one)',
      },
    );
  }
  for (let round = 0; round < 100; round++) {
    const pids = (readGroupFile(unified, 'cgroup.procs') ?? '').split('\n').filter(Boolean);
    if (pids.length === 0) return;
    mkdirSync(unified + OUTSIDE, { recursive: true });
    for (const pid of pids) {
      try {
        // Pid 0 is a process that this pid namespace can't see, and nobody here can move.
        if (pid !== '0') writeFileSync(`${unified}${OUTSIDE}/cgroup.procs`, pid);
      } catch (error) {
        if (!isErrno(error, 'ESRCH')) throw fromErrno(`move process ${pid} to ${unified}${OUTSIDE}`, error);
      }
    }
    if (pids.every((pid) => pid === '0')) break;
  }
  throw new UnsupportedError(
    `processes that nsbox cannot move are in ${unified}, so limits cannot be set below it`,
    {
      path: `${unified}/cgroup.procs`,
      hint: 'give the outer container a cgroup namespace of its own (--cgroupns=private)',
    },
  );
}
