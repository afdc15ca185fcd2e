import { type FSWatcher, watch } from 'node:fs';
import { KernelWatch, watchLegacyOom, watchPressure } from '../kernel/index.js';
import { readUsage, type Usage } from './stats.js';
import type { Groups } from './tree.js';

/** Something that a limit did to a container. */
export interface LimitEvent {
  /**
   * `oom`: memory ran out; `oom-kill`: a process was killed for it; `memory-high`: throttled at memory.high;
   * `pids-max`: a fork was refused; `pressure`: work waited longer than the threshold.
   */
  action: 'oom' | 'oom-kill' | 'memory-high' | 'pids-max' | 'pressure';
  /** Times since the last report. */
  count?: number;
  /** pressure: of what. */
  resource?: 'cpu' | 'memory' | 'io';
}

export interface WatchOptions {
  /** Share of the window in which work must have waited, 0 to 1; absent: no pressure events. */
  pressure?: number | undefined;
}

/**
 * Reports what limits do to a container, as the kernel says it: inotify on the events files, triggers on the
 * pressure files, an eventfd for v1's OOM notices. Nothing is polled. v1 gives no notice of refused forks: they are
 * reported with the next other event.
 * @returns ends with its scope
 */
export function watchLimits(
  groups: Groups,
  callback: (event: LimitEvent) => void,
  options: WatchOptions = {},
): KernelWatch {
  const open: Disposable[] = [];
  const legacy = groups.v1['memory'];
  let last = counts(groups);
  const look = (): void => {
    let now: Usage['events'];
    try {
      now = counts(groups);
    } catch {
      return;
    }
    const before = last;
    last = now;
    const report = (action: LimitEvent['action'], count: number): void => {
      if (count > 0) callback({ action, count });
    };
    report('memory-high', now.memoryHigh - before.memoryHigh);
    if (!legacy) report('oom', now.oom - before.oom);
    report('oom-kill', now.oomKill - before.oomKill);
    report('pids-max', now.pidsMax - before.pidsMax);
  };
  for (const file of eventFiles(groups)) {
    const watcher = watchFile(file, look);
    if (watcher) open.push({ [Symbol.dispose]: () => watcher.close() });
  }
  if (legacy) {
    const timers = new Set<NodeJS.Timeout>();
    open.push({ [Symbol.dispose]: () => timers.forEach(clearTimeout) });
    attempt(open, () =>
      watchLegacyOom(legacy, () => {
        callback({ action: 'oom', count: 1 });
        // v1 gives notice before it kills, and not again: the count is looked at a little later.
        for (const after of [20, 200, 1000]) {
          const timer = setTimeout(() => {
            timers.delete(timer);
            look();
          }, after);
          timers.add(timer);
        }
      }),
    );
  }
  if (options.pressure !== undefined && groups.unified) {
    for (const resource of ['cpu', 'memory', 'io'] as const) {
      const file = `${groups.unified}/${resource}.pressure`;
      const report = (): void => callback({ action: 'pressure', resource });
      // A window of one second needs CAP_SYS_RESOURCE; two seconds are everybody's.
      const trigger = (window: number): KernelWatch =>
        watchPressure(file, 'some', Math.round(window * (options.pressure ?? 1)), window, report);
      if (!attempt(open, () => trigger(1_000_000))) attempt(open, () => trigger(2_000_000));
    }
  }
  // What happened between the first look and the watches.
  look();
  return new KernelWatch(() => {
    for (const one of open) one[Symbol.dispose]();
  });
}

function counts(groups: Groups): Usage['events'] {
  return readUsage(groups).events;
}

function eventFiles({ unified, v1 }: Groups): string[] {
  const files = v1['pids'] ? [`${v1['pids']}/pids.events`] : unified ? [`${unified}/pids.events`] : [];
  if (unified && !v1['memory']) files.push(`${unified}/memory.events`);
  return files;
}

/** A controller that isn't there has no file: nothing to report then. */
function watchFile(file: string, look: () => void): FSWatcher | undefined {
  try {
    const watcher = watch(file, { persistent: true }, look);
    watcher.on('error', () => watcher.close());
    return watcher;
  } catch {
    return undefined;
  }
}

function attempt(open: Disposable[], make: () => Disposable): boolean {
  try {
    open.push(make());
    return true;
  } catch {
    return false;
  }
}
