import { defineCommand, formatFlag } from '../command.js';
import { forEach } from '../each.js';
import { printInspect } from '../format/list.js';

export const command = defineCommand({
  name: 'volume inspect',
  usage: '[OPTIONS] VOLUME [VOLUME...]',
  summary: 'Display detailed information on one or more volumes',
  options: { format: formatFlag },
  args: { min: 1 },
  async run({ flags, args }, io, ctx) {
    const { inspectVolume, openVolumes } = await import('../../engine/index.js');
    const volumes = openVolumes(ctx);
    const found: unknown[] = [];
    const code = await forEach(
      io,
      args,
      async (name) => found.push(inspectVolume(ctx, volumes.get(name))),
      () => undefined,
    );
    printInspect(io, found, flags.format);
    return code;
  },
});
