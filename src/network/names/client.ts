import { closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { type Context, LEAN_NODE, monotonicMs, packageRoot } from '../../base/index.js';
import { initPath, isAlive } from '../../kernel/index.js';
import { ensureDirectory, tryAcquireLock } from '../../state/index.js';
import { hasNames } from '../files.js';
import { stateDirectory } from '../paths.js';
import { needsRelay } from '../rules.js';
import type { NetworkSettings } from '../types.js';
import { namesLock, namesReady } from './state.js';

/** Whether a container needs the names process: for names, or to be reached over IPv6 on the host's loopback. */
export function needsNames(settings: NetworkSettings): boolean {
  return settings.endpoints.some(hasNames) || settings.ports.some((p) => needsRelay(settings, p));
}

/**
 * Starts the process that answers names, unless it runs. It outlives the command, and ends by itself when no
 * container needs it. Of several started at once all but one find the lock held and end.
 */
export async function startNames(ctx: Context): Promise<void> {
  ensureDirectory(stateDirectory(ctx));
  const lock = tryAcquireLock(namesLock(ctx), 'shared');
  if (!lock) return;
  lock[Symbol.dispose]();
  await spawnNames(ctx);
}

/**
 * Starts it below a supervisor of a few hundred kilobytes, which starts it again when it is killed. Where one runs
 * already, the new one ends.
 */
export async function spawnNames(ctx: Context): Promise<void> {
  const { spawn } = await import('node:child_process');
  const log = openSync(`${stateDirectory(ctx)}/names.log`, 'w', 0o600);
  try {
    const child = spawn(
      initPath(),
      ['--supervise', process.execPath, ...LEAN_NODE, program(), ctx.root, ctx.state],
      {
        detached: true,
        stdio: ['ignore', log, log],
        cwd: '/',
        env: { PATH: ctx.env['PATH'] },
      },
    );
    child.on('error', (error) => ctx.warn(`names of containers will not resolve: ${error.message}`));
    child.unref();
  } finally {
    closeSync(log);
  }
}

/** The program: bundled, or as a file of the test build. */
function program(): string {
  const beside = path.join(import.meta.dirname, 'main.js');
  return path.basename(import.meta.dirname) === 'names' && existsSync(beside)
    ? beside
    : path.join(packageRoot(), 'dist/nsbox-names.cjs');
}

/** Waits until the process serves what a container needs, so that its first question finds an answer. */
export async function waitForNames(ctx: Context, settings: NetworkSettings): Promise<void> {
  const wanted = new Set([
    settings.containerId,
    ...settings.endpoints.filter(hasNames).map((e) => e.networkId),
  ]);
  for (const port of settings.ports) {
    if (needsRelay(settings, port)) wanted.add(`${port.protocol}_${port.hostIp}_${port.hostPort}`);
  }
  const end = monotonicMs() + 5000;
  let started = monotonicMs();
  for (let pause = 2; monotonicMs() < end; pause = Math.min(pause * 1.5, 30)) {
    const ready = readReady(ctx);
    if ([...wanted].every((w) => ready.has(w))) return;
    await new Promise((resolve) => setTimeout(resolve, pause));
    // One that was ending as we looked, or was killed.
    if (monotonicMs() - started < 1000) continue;
    await startNames(ctx);
    started = monotonicMs();
  }
  ctx.warn(
    `names on the networks of ${settings.containerName || settings.containerId.slice(0, 12)} do not resolve yet: see ${stateDirectory(ctx)}/names.log`,
  );
}

function readReady(ctx: Context): Set<string> {
  try {
    const [writer = '', ...ready] = JSON.parse(readFileSync(namesReady(ctx), 'utf8')) as string[];
    const [pid = '', startTicks = ''] = writer.split(':');
    // What a killed process had written doesn't count.
    return new Set(isAlive({ pid: Number(pid), startTicks }) ? ready : []);
  } catch {
    return new Set();
  }
}
