import { defineCommand } from '../command.js';
import { forEach } from '../each.js';

export const command = defineCommand({
  name: 'rmi',
  aliases: ['image rm', 'image remove'],
  usage: '[OPTIONS] IMAGE [IMAGE...]',
  summary: 'Remove one or more images',
  options: {
    force: { type: 'bool', short: 'f', help: 'Remove all names of an image, also while containers use it' },
    'no-prune': { type: 'bool', help: 'Do not delete layers that nothing needs any more' },
  },
  args: { min: 1, max: Number.POSITIVE_INFINITY },
  async run({ flags, args }, io, ctx) {
    const [{ openImageStore }, { imageUser }] = await Promise.all([
      import('../../image/index.js'),
      import('../../engine/index.js'),
    ]);
    const store = openImageStore(ctx);
    return forEach(
      io,
      args,
      async (name) => {
        const removed = await store.remove(name, {
          force: flags.force,
          noPrune: flags['no-prune'],
          inUse: imageUser(ctx),
        });
        for (const r of removed) io.out(r.untagged ? `Untagged: ${r.untagged}\n` : `Deleted: ${r.deleted}\n`);
      },
      () => undefined,
    );
  },
});
