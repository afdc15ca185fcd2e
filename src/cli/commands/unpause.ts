import { defineCommand } from '../command.js';
import { forEach } from '../each.js';

export const command = defineCommand({
  name: 'unpause',
  aliases: ['container unpause'],
  usage: 'CONTAINER [CONTAINER...]',
  summary: 'Unpause all processes within one or more containers',
  options: {},
  args: { min: 1 },
  async run({ args }, io, ctx) {
    const { findContainer, unpauseContainer } = await import('../../engine/index.js');
    return forEach(io, args, (name) => unpauseContainer(ctx, findContainer(ctx, name)));
  },
});
