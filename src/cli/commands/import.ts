import path from 'node:path';
import { UnsupportedError } from '../../base/index.js';
import { defineCommand } from '../command.js';

export const command = defineCommand({
  name: 'import',
  aliases: ['image import'],
  usage: '[OPTIONS] FILE|DIRECTORY|- [REPOSITORY[:TAG]]',
  summary: 'Make an image from the tar or directory of a root filesystem',
  options: {
    change: { type: 'list', short: 'c', help: 'Apply a Dockerfile instruction to the image' },
    message: { type: 'string', short: 'm', help: 'Set a comment for the image' },
    platform: { type: 'string', help: 'Set the platform: os[/arch[/variant]]' },
  },
  args: { min: 1, max: 2 },
  async run({ flags, args }, io, ctx) {
    const file = args[0]!;
    if (/^https?:/.test(file)) {
      throw new UnsupportedError('import takes no URL', { hint: `curl -L ${file} | nsbox import -` });
    }
    const { openImageStore } = await import('../../image/index.js');
    const source =
      file === '-' ? { stream: io.stdin as AsyncIterable<Buffer> } : { path: path.resolve(ctx.cwd, file) };
    const image = await openImageStore(ctx).import(source, {
      reference: args[1],
      changes: flags.change,
      message: flags.message,
      platform: flags.platform,
    });
    io.out(`${image.id}\n`);
    return 0;
  },
});
