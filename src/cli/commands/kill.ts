import { defineCommand } from '../command.js';
import { forEach } from '../each.js';

export const command = defineCommand({
  name: 'kill',
  aliases: ['container kill'],
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  summary: 'Kill one or more running containers',
  options: {
    signal: { type: 'string', short: 's', help: 'Signal to send to the container', default: 'KILL' },
  },
  args: { min: 1 },
  async run({ flags, args }, io, ctx) {
    const { findContainer, signalContainer } = await import('../../engine/index.js');
    return forEach(io, args, (name) => signalContainer(ctx, findContainer(ctx, name), flags.signal));
  },
});
