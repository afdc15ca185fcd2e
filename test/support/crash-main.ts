// Run by crash-safety.test.ts, in a network namespace of its own: `crash-main.js hammer DIR SEED RUNS` lets drivers do
// what people do and kills them at any instant; `crash-main.js drive DIR SEED` is one such driver, killed from outside.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { makeContext } from '../../src/base/index.js';
import {
  attachSocket,
  type ContainerRecord,
  createContainer,
  execInContainer,
  finishRemoval,
  listContainers,
  recover,
  removeContainer,
  signalContainer,
  startContainer,
  stateOf,
  stopContainer,
} from '../../src/engine/index.js';
import { type ContainerRequest, emptyRequest } from '../../src/spec/index.js';

const [mode, directory, seedText, runsText] = process.argv.slice(2) as [string, string, string, string?];
const ctx = makeContext({ root: `${directory}/root`, state: `${directory}/state`, env: {} });
const parent = `/nsbox-crash-${directory.replace(/\W/g, '')}`;

/** Numbers in [0, 1) that the seed decides (mulberry32). */
let state = Number(seedText) >>> 0;
function random(): number {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = state;
  t = Math.imul(t ^ (t >>> 15), t | 1);
  t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
const pick = <T>(list: readonly T[]): T | undefined => list[Math.floor(random() * list.length)];

function request(script: string, more: Partial<ContainerRequest> = {}): ContainerRequest {
  return {
    ...emptyRequest(),
    rootfs: `${directory}/rootfs`,
    command: ['sh', '-c', script],
    cgroupParent: parent,
    networks: [{ network: random() < 0.5 ? 'bridge' : 'none' }],
    ...more,
  };
}

async function runForeground(): Promise<void> {
  const record = await createContainer(ctx, request('echo x; exit 3', { autoRemove: true }));
  const launched = await startContainer(ctx, record, {
    attach: async (socket) => {
      await attachSocket(socket, { tty: false });
    },
  });
  await launched?.exit;
  await finishRemoval(ctx, record, true);
}

async function runDetached(): Promise<void> {
  const restart = random() < 0.3;
  const record = await createContainer(
    ctx,
    request(restart ? 'sleep 0.1; exit 1' : 'sleep 100', {
      ...(restart ? { restart: { name: 'always', maximumRetryCount: 0 } } : {}),
    }),
  );
  const launched = await startContainer(ctx, record);
  launched?.monitor.close();
  if (random() < 0.5) {
    const exec = await execInContainer(ctx, record, { command: ['true'], stdio: [-1, -1, -1] });
    await exec.exit;
  }
}

async function onSome(action: (record: ContainerRecord) => Promise<unknown>): Promise<void> {
  const record = pick(listContainers(ctx));
  if (record) await action(record);
}

const VERBS: (() => Promise<unknown>)[] = [
  runForeground,
  runForeground,
  runDetached,
  runDetached,
  () => createContainer(ctx, request('true')),
  () => onSome(async (r) => (await startContainer(ctx, r))?.monitor.close()),
  () => onSome((r) => stopContainer(ctx, r, { timeout: 0 })),
  () => onSome((r) => signalContainer(ctx, r)),
  () => onSome((r) => removeContainer(ctx, r, { force: true })),
  () => recover(ctx),
];

/** What people do, until somebody kills us. Says `.` for each verb begun, so that they can be counted. */
async function drive(): Promise<void> {
  for (;;) {
    process.stdout.write('.');
    try {
      await pick(VERBS)!();
    } catch (error) {
      // Others work on the same containers: conflicts are expected, bugs of ours are not.
      const { code, message, stack } = error as { code?: string; message: string; stack?: string };
      // So is a container that dies while its network is wired.
      if (/\/proc\/\d+\/ns\/net: no such/.test(message)) continue;
      if (!/^(CONFLICT|NOT_FOUND|LAUNCH_FAILED|TIMEOUT)$/.test(code ?? '')) {
        process.stderr.write(`${code} ${message}\n${code ? '' : stack}\n`);
      }
    }
  }
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function hammer(runs: number): Promise<void> {
  let verbs = 0;
  let kills = 0;
  const ids = new Set<string>();
  const seen = (): void => {
    for (const d of [`${directory}/root/containers`, `${directory}/state/containers`]) {
      if (existsSync(d)) for (const id of readdirSync(d)) ids.add(id);
    }
  };
  const errors: string[] = [];
  const begun = new Map<ChildProcess, number>();
  const start = (): ChildProcess => {
    const child = spawn(
      process.execPath,
      [process.argv[1]!, 'drive', directory, String(Math.floor(random() * 2 ** 31))],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    child.stdout!.on('data', (chunk: Buffer) => {
      verbs += chunk.length;
      begun.set(child, (begun.get(child) ?? 0) + chunk.length);
    });
    child.stderr!.on('data', (chunk: Buffer) => errors.push(chunk.toString()));
    child.once('exit', (code) => {
      if (code !== null) errors.push(`a driver ended by itself with ${code}`);
    });
    return child;
  };
  const drivers = [start(), start()];
  const deadline = performance.now() + 60_000;
  while (performance.now() < deadline && (verbs < runs || kills < runs / 4)) {
    await sleep(random() * 150);
    seen();
    if (random() < 0.3) {
      const monitor = pick(monitors(ids));
      if (monitor) {
        kill(monitor);
        kills++;
      }
    }
    const at = Math.floor(random() * drivers.length);
    // Node takes its time to start: one that hasn't begun has nothing to lose.
    if (random() < 0.7 && (begun.get(drivers[at]!) ?? 0) > random() * 6) {
      await end(drivers[at]!);
      kills++;
      drivers[at] = start();
    }
  }
  for (const child of drivers) await end(child);
  seen();
  await recover(ctx);
  const left: string[] = [];
  for (const record of listContainers(ctx)) {
    const { status } = stateOf(ctx, record);
    if (status === 'dead' || status === 'removing') left.push(`${record.id} is ${status} after recovery`);
    await removeContainer(ctx, record, { force: true });
  }
  await recover(ctx);
  await sleep(200); // the kernel takes apart network namespaces in its own time
  left.push(...remains(ids));
  process.stdout.write(`${JSON.stringify({ verbs, kills, containers: ids.size, left, errors })}\n`);
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await gone;
}

/** Monitors of our containers, found as `ps` would: by the id on their command line. */
function monitors(ids: Set<string>): number[] {
  return readdirSync('/proc')
    .filter((n) => /^\d+$/.test(n))
    .map(Number)
    .filter((pid) => {
      const words = commandLine(pid).split('\0');
      return words.some((w) => ids.has(w)) && words[0]!.includes('nsbox');
    });
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1');
  } catch {
    return '';
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it has just ended
  }
}

/** Everything that a container could leave behind, looked for in the kernel and on disk. */
function remains(ids: Set<string>): string[] {
  const out: string[] = [];
  for (const pid of monitors(ids)) out.push(`process ${pid}: ${commandLine(pid).replaceAll('\0', ' ')}`);
  for (const file of ['/proc/self/mountinfo']) {
    for (const line of readFileSync(file, 'utf8').split('\n')) {
      if (line.includes(directory)) out.push(`mount: ${line}`);
    }
  }
  for (const line of readFileSync('/proc/self/mountinfo', 'utf8').split('\n')) {
    const point = / - cgroup2? /.test(line) ? line.split(' ')[4] : undefined;
    if (!point || !existsSync(point + parent)) continue;
    for (const name of readdirSync(point + parent, { withFileTypes: true })) {
      if (name.isDirectory()) out.push(`cgroup: ${point}${parent}/${name.name}`);
    }
    try {
      rmdirSync(point + parent);
    } catch {
      // named above
    }
  }
  const links = spawnSync('ip', ['-o', 'link', 'show', 'type', 'veth'], { encoding: 'utf8' }).stdout;
  for (const link of links.split('\n').filter(Boolean)) out.push(`link: ${link}`);
  for (const d of ['root/containers', 'root/names', 'root/ids', 'state/containers']) {
    if (!existsSync(`${directory}/${d}`)) continue;
    for (const name of readdirSync(`${directory}/${d}`)) out.push(`file: ${d}/${name}`);
  }
  const temporary = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter(
    (n) => /\.tmp(\.|$)/.test(n) && !n.startsWith('rootfs/'),
  );
  for (const t of temporary) out.push(`temporary file: ${t}`);
  return out;
}

if (mode === 'drive') await drive();
else await hammer(Number(runsText));
