import { defineCommand } from '../command.js';

export const command = defineCommand({
  name: 'push',
  aliases: ['image push'],
  usage: '[OPTIONS] NAME[:TAG]',
  summary: 'Upload an image to a registry',
  options: {
    progress: {
      type: 'string',
      help: 'Set the kind of progress output (auto, tty, plain, json)',
      default: 'auto',
    },
    quiet: { type: 'bool', short: 'q', help: 'Suppress verbose output' },
    'all-tags': { type: 'bool', short: 'a', help: 'Push all tags of an image to the repository' },
  },
  args: { min: 1, max: 1 },
  async run({ flags, args }, io, ctx) {
    const [{ canonical, openImageStore, parseReference, splitName }, { progressMode, progressPrinter }] =
      await Promise.all([import('../../image/index.js'), import('../format/progress.js')]);
    const stop = new AbortController();
    const off = io.onSignal(['SIGINT', 'SIGTERM'], () => stop.abort());
    const printer = progressPrinter(io, progressMode(flags.progress, flags.quiet));
    try {
      const store = openImageStore(ctx);
      let names = [args[0]!];
      if (flags['all-tags']) {
        const [repository] = splitName(args[0]!);
        names = (await store.list())
          .flatMap((i) => i.repoTags)
          .filter((name) => splitName(name)[0] === repository);
      }
      for (const name of names) {
        await store.push(name, { onProgress: printer.show, signal: stop.signal });
        if (flags.quiet) io.out(`${canonical(parseReference(name))}\n`);
      }
    } finally {
      printer.done();
      off();
    }
    return 0;
  },
});
