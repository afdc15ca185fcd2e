import { defineCommand } from '../command.js';

export const command = defineCommand({
  name: 'network disconnect',
  usage: '[OPTIONS] NETWORK CONTAINER',
  summary: 'Disconnect a container from a network',
  options: {
    force: { type: 'bool', short: 'f', help: 'Force the container to disconnect from a network' },
  },
  args: { min: 2, max: 2 },
  async run({ flags, args }, _io, ctx) {
    const { disconnectNetwork } = await import('../../engine/index.js');
    await disconnectNetwork(ctx, args[1]!, args[0]!, flags.force);
    return 0;
  },
});
