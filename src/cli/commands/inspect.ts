import { InvalidError, NotFoundError, NsboxError } from '../../base/index.js';
import { failureLine } from '../cli.js';
import { defineCommand, formatFlag } from '../command.js';
import { printInspect } from '../format/list.js';

export const command = defineCommand({
  name: 'inspect',
  aliases: ['container inspect'],
  usage: '[OPTIONS] NAME|ID [NAME|ID...]',
  summary: 'Return low-level information on containers, images, volumes and networks',
  options: {
    format: formatFlag,
    size: { type: 'bool', short: 's', help: 'Display total file sizes if the type is container' },
    type: {
      type: 'string',
      help: 'Only return objects of the given type: container, image, volume or network',
    },
  },
  args: { min: 1 },
  async run({ flags, args }, io, ctx) {
    const { inspectAny, INSPECT_TYPES } = await import('../../engine/index.js');
    const { type } = flags;
    if (type !== undefined && !INSPECT_TYPES.includes(type)) {
      throw new InvalidError(
        `${JSON.stringify(type)} is not a valid value for --type (${INSPECT_TYPES.join(', ')})`,
      );
    }
    const found: unknown[] = [];
    let code = 0;
    for (const name of args) {
      try {
        found.push(await inspectAny(ctx, name, { type, size: flags.size }));
      } catch (error) {
        if (!(error instanceof NsboxError)) throw error;
        io.err(`nsbox: ${error instanceof NotFoundError ? error.message : failureLine(error)}\n`);
        code = 1;
      }
    }
    printInspect(io, found, flags.format);
    return code;
  },
});
