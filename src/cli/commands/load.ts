import path from 'node:path';
import { InvalidError } from '../../base/index.js';
import { defineCommand } from '../command.js';

export const command = defineCommand({
  name: 'load',
  aliases: ['image load'],
  usage: '[OPTIONS] [PATH]',
  summary: 'Load images from an archive, an OCI layout or standard input',
  details:
    'Reads docker-archive, oci-archive, OCI layout directories and dir:, their layers plain, gzip or zstd.\n' +
    'oci:DIR:TAG, oci-archive:FILE:TAG and docker-archive:FILE:NAME load one image of several.\n' +
    'What comes from standard input or is compressed as a whole is first written to the store.',
  options: {
    input: {
      type: 'string',
      short: 'i',
      value: 'file',
      help: 'Read from an archive or directory, instead of STDIN',
    },
    platform: { type: 'string', help: 'Load only the given platform: os[/arch[/variant]]' },
    quiet: { type: 'bool', short: 'q', help: 'Print nothing but the names' },
  },
  args: { max: 1 },
  async run({ flags, args }, io, ctx) {
    const file = flags.input ?? args[0];
    if (file === undefined && io.tty.stdin) {
      throw new InvalidError('nothing to load: standard input is a terminal', {
        hint: '`nsbox load -i FILE` or `nsbox load < FILE`',
      });
    }
    const { openImageStore, parsePlace } = await import('../../image/index.js');
    const place = file === undefined ? undefined : parsePlace(ctx, file);
    const named = place && 'path' in place ? { reference: undefined, ...place } : undefined;
    const source =
      file === undefined || file === '-'
        ? { stream: io.stdin as AsyncIterable<Buffer> }
        : { path: path.resolve(ctx.cwd, named?.path ?? file) };
    const options = { platform: flags.platform, select: named?.reference };
    const loaded = await openImageStore(ctx).load(source, options);
    for (const { image, names } of loaded) {
      for (const name of names) io.out(`Loaded image: ${name}\n`);
      if (names.length === 0) io.out(`Loaded image ID: ${image.id}\n`);
    }
    return 0;
  },
});
