import { defineCommand } from '../command.js';

export const command = defineCommand({
  name: 'commit',
  aliases: ['container commit'],
  usage: '[OPTIONS] CONTAINER [REPOSITORY[:TAG]]',
  summary: "Create a new image from a container's changes",
  options: {
    author: {
      type: 'string',
      short: 'a',
      help: 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")',
    },
    change: { type: 'list', short: 'c', help: 'Apply Dockerfile instruction to the created image' },
    message: { type: 'string', short: 'm', help: 'Commit message' },
    pause: { type: 'bool', short: 'p', help: 'Pause container during commit', default: true },
  },
  args: { min: 1, max: 2 },
  async run({ flags, args }, io, ctx) {
    const { commitContainer, findContainer } = await import('../../engine/index.js');
    const id = await commitContainer(ctx, findContainer(ctx, args[0]!), {
      reference: args[1],
      author: flags.author,
      message: flags.message,
      changes: flags.change,
      pause: flags.pause,
    });
    io.out(`${id}\n`);
    return 0;
  },
});
