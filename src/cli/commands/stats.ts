import type { Context } from '../../base/index.js';
import type { GpuSampler } from '../../engine/gpu-stats.js';
import type { StatsSample } from '../../engine/stats.js';
import { defineCommand } from '../command.js';
import type { Io } from '../io.js';

export const command = defineCommand({
  name: 'stats',
  aliases: ['container stats'],
  usage: '[OPTIONS] [CONTAINER...]',
  summary: 'Display a live stream of container(s) resource usage statistics',
  options: {
    all: { type: 'bool', short: 'a', help: 'Show all containers (default shows just running)' },
    format: {
      type: 'string',
      help: "Format output using a custom template: 'table', 'table TEMPLATE', 'json' or a Go template",
    },
    interval: { type: 'seconds', help: 'Time between two figures', default: 1 },
    'no-stream': { type: 'bool', help: 'Disable streaming stats and only pull the first result' },
    'no-trunc': { type: 'bool', help: 'Do not truncate output' },
  },
  args: { min: 0 },
  async run(input, io, ctx) {
    const { flags, args } = input;
    const { InvalidError } = await import('../../base/index.js');
    if (flags.interval < 0.1) throw new InvalidError('--interval must be at least 0.1 s');
    const read = await reader(ctx, args, flags.all);
    const { openGpuSampler } = await import('../../engine/gpu-stats.js');
    const gpus = await openGpuSampler(ctx);
    const print = await printer(io, { format: flags.format, full: flags['no-trunc'], gpus });
    let before = new Map(read().map((s) => [s.id, s]));
    if (flags['no-stream']) {
      // CPU use is a difference: the second look is the first result.
      if ([...before.values()].some((s) => s.usage)) await pause(io, flags.interval * 1000);
      await print(read(), before, false);
      return 0;
    }
    const live = io.tty.stdout && (flags.format === undefined || flags.format.startsWith('table'));
    for (;;) {
      if (await pause(io, flags.interval * 1000)) return 0;
      const samples = read();
      await print(samples, before, live);
      before = new Map(samples.map((s) => [s.id, s]));
      if (args.length > 0 && samples.length === 0) return 0;
    }
  },
});

/** What gives the samples: of the containers named, which must exist, or of all. */
async function reader(ctx: Context, args: readonly string[], all: boolean): Promise<() => StatsSample[]> {
  const { findContainer, readContainer } = await import('../../engine/containers.js');
  const { sampleAll, sampleStats } = await import('../../engine/stats.js');
  if (args.length === 0) return () => sampleAll(ctx, { all });
  const ids = args.map((name) => findContainer(ctx, name).id);
  return () =>
    ids.flatMap((id) => {
      const record = readContainer(ctx, id);
      return record ? [sampleStats(ctx, record)] : [];
    });
}

/** Waits; true when a signal asked to end. */
function pause(io: Io, milliseconds: number): Promise<boolean> {
  return new Promise((resolve) => {
    const done = (ended: boolean): void => {
      clearTimeout(timer);
      stop();
      resolve(ended);
    };
    const timer = setTimeout(() => done(false), milliseconds);
    const stop = io.onSignal(['SIGINT', 'SIGTERM'], () => done(true));
  });
}

async function printer(
  io: Io,
  options: { format: string | undefined; full: boolean; gpus: GpuSampler | undefined },
): Promise<(samples: StatsSample[], before: Map<string, StatsSample>, live: boolean) => Promise<void>> {
  const { printList } = await import('../format/list.js');
  const { GPU_STATS_LIST, statsRow, STATS_LIST } = await import('../format/stats-row.js');
  const list = options.gpus ? GPU_STATS_LIST : STATS_LIST;
  return async (samples, before, live) => {
    const gpus = await options.gpus?.(samples);
    const rows = samples.map((s) => statsRow(s, before.get(s.id), options, gpus?.get(s.id)));
    if (!live) return printList(io, rows, list, { format: options.format });
    let text = '';
    const into: Io = {
      ...io,
      out: (part) => {
        text += part;
      },
    };
    printList(into, rows, list, { format: options.format });
    // Home, each line cleared to its end, then everything below.
    io.out(`\x1b[H${text.replaceAll('\n', '\x1b[K\n')}\x1b[J`);
  };
}
