import { InvalidError } from '../../base/index.js';
import { defineCommand } from '../command.js';
import { forEach } from '../each.js';

export const command = defineCommand({
  name: 'image unmount',
  aliases: ['image umount'],
  usage: '[OPTIONS] IMAGE [IMAGE...]',
  summary: 'Unmount the filesystem of an image',
  options: {
    all: { type: 'bool', short: 'a', help: 'Unmount all images' },
    force: { type: 'bool', short: 'f', help: 'Unmount however often the image was mounted' },
  },
  args: { max: Number.POSITIVE_INFINITY },
  async run({ flags, args }, io, ctx) {
    if (flags.all === args.length > 0) throw new InvalidError('name an image, or give --all');
    const { openImageStore } = await import('../../image/index.js');
    const store = openImageStore(ctx);
    const wanted = flags.all ? (await store.mounts()).map(({ id }) => id) : args;
    return forEach(
      io,
      wanted,
      async (name) => io.out(`${(await store.unmount(name, flags.force)).slice(7)}\n`),
      () => undefined,
    );
  },
});
