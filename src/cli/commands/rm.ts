import { NotFoundError } from '../../base/index.js';
import { defineCommand } from '../command.js';
import { forEach } from '../each.js';

export const command = defineCommand({
  name: 'rm',
  aliases: ['container rm', 'container remove'],
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  summary: 'Remove one or more containers',
  options: {
    force: { type: 'bool', short: 'f', help: 'Force the removal of a running container (uses SIGKILL)' },
    link: { type: 'bool', short: 'l', help: '', refused: 'there are no legacy links' },
    volumes: { type: 'bool', short: 'v', help: 'Remove anonymous volumes associated with the container' },
  },
  args: { min: 1 },
  async run({ flags, args }, io, ctx) {
    const { findContainer, removeContainer, recover } = await import('../../engine/index.js');
    await recover(ctx);
    return forEach(io, args, async (name) => {
      try {
        await removeContainer(ctx, findContainer(ctx, name), flags);
      } catch (error) {
        if (!(flags.force && error instanceof NotFoundError)) throw error;
      }
    });
  },
});
