import { NsboxError } from '../../base/index.js';
import { failureLine } from '../cli.js';
import { defineCommand, formatFlag } from '../command.js';
import { printInspect } from '../format/list.js';

export const command = defineCommand({
  name: 'image inspect',
  usage: '[OPTIONS] IMAGE [IMAGE...]',
  summary: 'Display detailed information on one or more images',
  options: { format: formatFlag },
  args: { min: 1, max: Number.POSITIVE_INFINITY },
  async run({ flags, args }, io, ctx) {
    const { openImageStore } = await import('../../image/index.js');
    const store = openImageStore(ctx);
    const found: unknown[] = [];
    let code = 0;
    for (const name of args) {
      try {
        found.push(await store.inspect(name));
      } catch (error) {
        if (!(error instanceof NsboxError)) throw error;
        io.err(`nsbox: ${failureLine(error)}\n`);
        code = 1;
      }
    }
    printInspect(io, found, flags.format);
    return code;
  },
});
