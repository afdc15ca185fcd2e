import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { InvalidError } from '../../base/index.js';
import { defineCommand } from '../command.js';
import {
  compressionFlags,
  compressionOf,
  registryFlags,
  registryOptions,
} from '../request/registry-flags.js';

export const command = defineCommand({
  name: 'image cp',
  aliases: ['image copy'],
  usage: '[OPTIONS] SOURCE DESTINATION',
  summary: 'Copy an image between registries, archives, directories and the store',
  details:
    'Both are a name (an image of the store), docker://NAME, oci:DIR[:TAG], oci-archive:FILE[:TAG],\n' +
    'docker-archive:FILE[:NAME] or dir:DIR. Between two other places nothing comes into the store.',
  options: {
    all: { type: 'bool', short: 'a', help: 'Copy the images of all platforms' },
    ...compressionFlags,
    digestfile: { type: 'string', value: 'file', help: 'Write the digest of the manifest to a file' },
    format: { type: 'string', short: 'f', help: 'Format of the manifest: oci or v2s2' },
    platform: { type: 'string', help: 'Choose the platform: os[/arch[/variant]]' },
    'preserve-digests': { type: 'bool', help: 'Fail where the manifest would have to change' },
    progress: {
      type: 'string',
      help: 'Set the kind of progress output (auto, tty, plain, json)',
      default: 'auto',
    },
    quiet: { type: 'bool', short: 'q', help: 'Suppress verbose output' },
    'cert-dir': registryFlags['cert-dir'],
    'tls-verify': registryFlags['tls-verify'],
  },
  args: { min: 2, max: 2 },
  async run({ flags, args, given }, io, base) {
    const { format } = flags;
    if (format !== undefined && format !== 'oci' && format !== 'v2s2')
      throw new InvalidError(`--format: expected oci or v2s2, received ${JSON.stringify(format)}`);
    const compression = compressionOf(flags);
    const { ctx } = await registryOptions(base, { ...flags, creds: undefined }, given);
    const [{ openImageStore }, { progressMode, progressPrinter }] = await Promise.all([
      import('../../image/index.js'),
      import('../format/progress.js'),
    ]);
    const stop = new AbortController();
    const off = io.onSignal(['SIGINT', 'SIGTERM'], () => stop.abort());
    const printer = progressPrinter(io, progressMode(flags.progress, flags.quiet));
    try {
      const digest = await openImageStore(ctx).copy(args[0]!, args[1]!, {
        all: flags.all,
        compression,
        format,
        onProgress: printer.show,
        platform: flags.platform,
        preserveDigests: flags['preserve-digests'],
        signal: stop.signal,
      });
      if (flags.digestfile !== undefined) writeFileSync(path.resolve(ctx.cwd, flags.digestfile), digest);
    } finally {
      printer.done();
      off();
    }
    return 0;
  },
});
