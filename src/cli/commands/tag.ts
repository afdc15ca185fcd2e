import { defineCommand } from '../command.js';

export const command = defineCommand({
  name: 'tag',
  aliases: ['image tag'],
  usage: 'SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]',
  summary: 'Give an image another name',
  options: {},
  args: { min: 2, max: 2 },
  async run({ args }, _io, ctx) {
    const { openImageStore } = await import('../../image/index.js');
    await openImageStore(ctx).tag(args[0]!, args[1]!);
    return 0;
  },
});
