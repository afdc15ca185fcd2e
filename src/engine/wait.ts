import { watch } from 'node:fs';
import type { Context } from '../base/index.js';
import { containerState, readContainer, readExit } from './containers.js';
import { MonitorClient } from './monitor-client.js';
import { containerPaths } from './paths.js';
import type { ContainerRecord } from './records.js';

/** As `docker wait`: the end of the current run, the end of the next one, or the container's removal. */
export type WaitCondition = 'not-running' | 'next-exit' | 'removed';

/**
 * Waits for a container and gives its exit code. One that doesn't run gives that of its last run at once, 0 where it
 * never ran (as Docker's). A run whose monitor was killed ends with 137.
 */
export async function waitContainer(
  ctx: Context,
  record: ContainerRecord,
  condition: WaitCondition = 'not-running',
): Promise<number> {
  const paths = containerPaths(ctx, record.id);
  for (;;) {
    const client = await MonitorClient.connect(paths.socket);
    if (client) {
      using _ = client;
      const exit = await client.exit;
      // Without a word: it was killed, or had just come to its end.
      if (!exit && containerState(ctx, record).status !== 'dead') continue;
      const code = exit ? exit.exitCode : 137;
      if (condition !== 'removed') return code;
      if (exit?.restarting) continue;
      await removed(ctx, record.id);
      return code;
    }
    const { running, status } = containerState(ctx, record);
    if (running) {
      // Between the end of its work and the end of its files: not long.
      await new Promise((resolve) => setTimeout(resolve, 2));
      continue;
    }
    // The monitor's socket may go before its lock: the kill is then seen only here.
    const code = status === 'dead' ? 137 : (readExit(paths)?.exitCode ?? 0);
    if (condition === 'not-running') return code;
    if (condition === 'removed') {
      await removed(ctx, record.id);
      return code;
    }
    if (!(await changed(paths.data, () => containerState(ctx, record).running !== undefined))) return code;
  }
}

/** Resolves when the container has no record any more. */
async function removed(ctx: Context, id: string): Promise<void> {
  await changed(containerPaths(ctx, id).data, () => readContainer(ctx, id) === undefined);
}

/**
 * Waits until `done`, looking whenever something changes in the container's directory (inotify) and, for what happens
 * elsewhere, twice a second.
 * @returns false where the directory has gone
 */
function changed(directory: string, done: () => boolean): Promise<boolean> {
  return new Promise((resolve) => {
    if (done()) {
      resolve(true);
      return;
    }
    let watcher: ReturnType<typeof watch> | undefined;
    const end = (there: boolean): void => {
      clearInterval(timer);
      watcher?.close();
      resolve(there);
    };
    const look = (): void => {
      if (done()) end(true);
    };
    const timer = setInterval(look, 500);
    try {
      watcher = watch(directory, look);
      watcher.on('error', () => end(done()));
    } catch {
      end(done());
      return;
    }
    look();
  });
}
