import { defineCommand } from '../command.js';

export const command = defineCommand({
  name: 'rename',
  aliases: ['container rename'],
  usage: 'CONTAINER NEW_NAME',
  summary: 'Rename a container',
  options: {},
  args: { min: 2, max: 2 },
  async run({ args }, _io, ctx) {
    const { findContainer, renameContainer } = await import('../../engine/index.js');
    await renameContainer(ctx, findContainer(ctx, args[0]!), args[1]!);
    return 0;
  },
});
