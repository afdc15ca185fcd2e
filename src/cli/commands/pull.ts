import { defineCommand } from '../command.js';
import { registryFlags, registryOptions } from '../request/registry-flags.js';

export const command = defineCommand({
  name: 'pull',
  aliases: ['image pull'],
  usage: '[OPTIONS] NAME[:TAG|@DIGEST]',
  summary: 'Download an image from a registry',
  details:
    'Also from oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME] and dir:DIR; docker://NAME is a registry.',
  options: {
    'all-tags': { type: 'bool', short: 'a', help: 'Download all tagged images in the repository' },
    platform: { type: 'string', help: 'Set the platform: os[/arch[/variant]]' },
    progress: {
      type: 'string',
      help: 'Set the kind of progress output (auto, tty, plain, json)',
      default: 'auto',
    },
    ...registryFlags,
    quiet: { type: 'bool', short: 'q', help: 'Suppress verbose output' },
  },
  args: { min: 1, max: 1 },
  async run({ flags, args, given }, io, base) {
    const { ctx, credentials } = await registryOptions(base, flags, given);
    const [{ canonical, openImageStore, parsePlace, parseReference }, { progressMode, progressPrinter }] =
      await Promise.all([import('../../image/index.js'), import('../format/progress.js')]);
    const stop = new AbortController();
    const off = io.onSignal(['SIGINT', 'SIGTERM'], () => stop.abort());
    let id = '';
    const printer = progressPrinter(io, progressMode(flags.progress, flags.quiet));
    try {
      const store = openImageStore(ctx);
      const { platform } = flags;
      const options = { platform, onProgress: printer.show, signal: stop.signal, credentials };
      if (flags['all-tags']) await store.pullAll(args[0]!, options);
      else id = (await store.pull(args[0]!, options)).id;
    } finally {
      printer.done();
      off();
    }
    const place = parsePlace(ctx, args[0]!);
    const name = 'reference' in place && !('path' in place) ? canonical(parseReference(place.reference)) : id;
    if (flags.progress !== 'json') io.out(`${name}\n`);
    return 0;
  },
});
