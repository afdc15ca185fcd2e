import { defineCommand } from '../command.js';
import { forEach } from '../each.js';

export const command = defineCommand({
  name: 'pause',
  aliases: ['container pause'],
  usage: 'CONTAINER [CONTAINER...]',
  summary: 'Pause all processes within one or more containers',
  options: {},
  args: { min: 1 },
  async run({ args }, io, ctx) {
    const { findContainer, pauseContainer } = await import('../../engine/index.js');
    return forEach(io, args, (name) => pauseContainer(ctx, findContainer(ctx, name)));
  },
});
