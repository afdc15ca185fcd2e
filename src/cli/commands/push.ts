import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { InvalidError, NotFoundError } from '../../base/index.js';
import { defineCommand } from '../command.js';
import {
  compressionFlags,
  compressionOf,
  registryFlags,
  registryOptions,
} from '../request/registry-flags.js';

export const command = defineCommand({
  name: 'push',
  aliases: ['image push'],
  usage: '[OPTIONS] NAME[:TAG] [DESTINATION]',
  summary: 'Upload an image to a registry',
  details:
    'DESTINATION is another name, or docker://NAME, oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME]\n' +
    'or dir:DIR. Layers that the store has uncompressed are compressed with gzip on the way.',
  options: {
    ...compressionFlags,
    digestfile: { type: 'string', value: 'file', help: 'Write the digest of the manifest to a file' },
    ...registryFlags,
    progress: {
      type: 'string',
      help: 'Set the kind of progress output (auto, tty, plain, json)',
      default: 'auto',
    },
    quiet: { type: 'bool', short: 'q', help: 'Suppress verbose output' },
    'all-tags': { type: 'bool', short: 'a', help: 'Push all tags of an image to the repository' },
  },
  args: { min: 1, max: 2 },
  async run({ flags, args, given }, io, base) {
    const compression = compressionOf(flags);
    if (flags['all-tags'] && args.length > 1) throw new InvalidError('--all-tags takes no destination');
    const { ctx, credentials } = await registryOptions(base, flags, given);
    const [{ openImageStore, splitName }, { progressMode, progressPrinter }] = await Promise.all([
      import('../../image/index.js'),
      import('../format/progress.js'),
    ]);
    const stop = new AbortController();
    const off = io.onSignal(['SIGINT', 'SIGTERM'], () => stop.abort());
    const printer = progressPrinter(io, progressMode(flags.progress, flags.quiet));
    try {
      const store = openImageStore(ctx);
      let names = [args[0]!];
      if (flags['all-tags']) {
        const [repository, tag] = splitName(args[0]!);
        if (tag !== '<none>') throw new InvalidError("tag can't be used with --all-tags/-a");
        names = (await store.list())
          .flatMap((i) => i.repoTags)
          .filter((name) => splitName(name)[0] === repository)
          .sort();
        if (names.length === 0) throw new NotFoundError('image', args[0]!);
      }
      for (const name of names) {
        const options = { onProgress: printer.show, signal: stop.signal, compression, credentials };
        const { digest, tag } = await store.push(name, options, args[1]);
        if (flags.quiet) io.out(`${tag}\n`);
        if (flags.digestfile !== undefined) writeFileSync(path.resolve(ctx.cwd, flags.digestfile), digest);
      }
    } finally {
      printer.done();
      off();
    }
    return 0;
  },
});
