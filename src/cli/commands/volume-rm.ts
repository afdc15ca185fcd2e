import { NotFoundError } from '../../base/index.js';
import { defineCommand } from '../command.js';
import { forEach } from '../each.js';

export const command = defineCommand({
  name: 'volume rm',
  aliases: ['volume remove'],
  usage: '[OPTIONS] VOLUME [VOLUME...]',
  summary: 'Remove one or more volumes',
  options: { force: { type: 'bool', short: 'f', help: "Don't fail for volumes that don't exist" } },
  args: { min: 1 },
  async run({ flags, args }, io, ctx) {
    const { openVolumes, volumeUsers } = await import('../../engine/index.js');
    const volumes = openVolumes(ctx);
    return forEach(io, args, async (name) => {
      try {
        await volumes.remove(name, (n) => volumeUsers(ctx, n));
      } catch (error) {
        if (!(flags.force && error instanceof NotFoundError)) throw error;
      }
    });
  },
});
