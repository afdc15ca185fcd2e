import { InvalidError, UnsupportedError } from '../../base/index.js';
import { defineCommand } from '../command.js';
import { parseLabels, parseMap } from '../request/lists.js';

export const command = defineCommand({
  name: 'volume create',
  usage: '[OPTIONS] [VOLUME]',
  summary: 'Create a volume',
  options: {
    driver: { type: 'string', short: 'd', help: 'Specify volume driver name', default: 'local' },
    label: { type: 'list', help: 'Set metadata for a volume' },
    name: { type: 'string', help: 'Specify volume name', hidden: true },
    opt: { type: 'list', short: 'o', value: 'map', help: 'Set driver specific options' },
  },
  args: { max: 1 },
  async run({ flags, args }, io, ctx) {
    if (flags.driver !== 'local')
      throw new UnsupportedError(`there is no volume driver '${flags.driver}' (only local)`);
    if (flags.name !== undefined && args[0] !== undefined) {
      throw new InvalidError(
        'conflicting options: cannot specify a volume-name through both --name and as a positional arg',
      );
    }
    const { openVolumes } = await import('../../engine/index.js');
    const volume = await openVolumes(ctx).create({
      name: args[0] ?? flags.name,
      labels: parseLabels([], flags.label, ctx),
      options: parseMap('volume option', flags.opt),
    });
    io.out(`${volume.name}\n`);
    return 0;
  },
});
