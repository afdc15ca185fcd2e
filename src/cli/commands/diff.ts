import { defineCommand } from '../command.js';

export const command = defineCommand({
  name: 'diff',
  aliases: ['container diff'],
  usage: 'CONTAINER',
  summary: "Inspect changes to files or directories on a container's filesystem",
  options: {},
  args: { min: 1, max: 1 },
  async run({ args }, io, ctx) {
    const { diffContainer, findContainer } = await import('../../engine/index.js');
    const changes = diffContainer(ctx, findContainer(ctx, args[0]!));
    io.out(changes.map((change) => `${change.kind} ${change.path}\n`).join(''));
    return 0;
  },
});
