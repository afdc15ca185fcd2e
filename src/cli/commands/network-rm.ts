import { NotFoundError } from '../../base/index.js';
import { defineCommand } from '../command.js';
import { forEach } from '../each.js';

export const command = defineCommand({
  name: 'network rm',
  aliases: ['network remove'],
  usage: 'NETWORK [NETWORK...]',
  summary: 'Remove one or more networks',
  options: {
    force: { type: 'bool', short: 'f', help: 'Do not error if the network does not exist' },
  },
  args: { min: 1 },
  async run({ flags, args }, io, ctx) {
    const { openNetworks } = await import('../../network/index.js');
    const networks = openNetworks(ctx);
    return forEach(io, args, async (name) => {
      try {
        await networks.remove(name);
      } catch (error) {
        if (!(flags.force && error instanceof NotFoundError)) throw error;
      }
    });
  },
});
