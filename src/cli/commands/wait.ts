import { defineCommand } from '../command.js';
import { forEach } from '../each.js';

export const command = defineCommand({
  name: 'wait',
  aliases: ['container wait'],
  usage: 'CONTAINER [CONTAINER...]',
  summary: 'Block until one or more containers stop, then print their exit codes',
  options: {},
  args: { min: 1 },
  async run({ args }, io, ctx) {
    const { findContainer, waitContainer } = await import('../../engine/index.js');
    const codes = new Map<string, number>();
    return forEach(
      io,
      args,
      async (name) => codes.set(name, await waitContainer(ctx, findContainer(ctx, name))),
      (name) => String(codes.get(name)),
    );
  },
});
