import { defineCommand } from '../command.js';

export const command = defineCommand({
  name: 'top',
  aliases: ['container top'],
  usage: 'CONTAINER [ps OPTIONS]',
  summary: 'Display the running processes of a container',
  options: {},
  args: { min: 1 },
  flagsFirst: true,
  async run(input, io, ctx) {
    const [name = '', ...psArguments] = input.args;
    const { findContainer } = await import('../../engine/containers.js');
    const { topOf } = await import('../../engine/top.js');
    const { alignTable } = await import('../format/table.js');
    const { titles, rows } = await topOf(ctx, findContainer(ctx, name), psArguments);
    io.out(alignTable([titles, ...rows]));
    return 0;
  },
});
