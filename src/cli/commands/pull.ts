import { defineCommand } from '../command.js';

export const command = defineCommand({
  name: 'pull',
  aliases: ['image pull'],
  usage: '[OPTIONS] NAME[:TAG|@DIGEST]',
  summary: 'Download an image from a registry',
  options: {
    'all-tags': { type: 'bool', short: 'a', help: 'Download all tagged images in the repository' },
    platform: { type: 'string', help: 'Set the platform: os[/arch[/variant]]' },
    progress: {
      type: 'string',
      help: 'Set the kind of progress output (auto, tty, plain, json)',
      default: 'auto',
    },
    quiet: { type: 'bool', short: 'q', help: 'Suppress verbose output' },
  },
  args: { min: 1, max: 1 },
  async run({ flags, args }, io, ctx) {
    const [{ canonical, openImageStore, parseReference }, { progressMode, progressPrinter }] =
      await Promise.all([import('../../image/index.js'), import('../format/progress.js')]);
    const stop = new AbortController();
    const off = io.onSignal(['SIGINT', 'SIGTERM'], () => stop.abort());
    const printer = progressPrinter(io, progressMode(flags.progress, flags.quiet));
    try {
      const store = openImageStore(ctx);
      const options = { platform: flags.platform, onProgress: printer.show, signal: stop.signal };
      if (flags['all-tags']) await store.pullAll(args[0]!, options);
      else await store.pull(args[0]!, options);
    } finally {
      printer.done();
      off();
    }
    if (flags.progress !== 'json') io.out(`${canonical(parseReference(args[0]!))}\n`);
    return 0;
  },
});
