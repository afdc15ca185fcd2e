import { filterBoolean, parseFilters } from '../../base/index.js';
import { defineCommand, forceFlag } from '../command.js';
import { confirm } from '../each.js';
import { humanSize } from '../format/units.js';

export const command = defineCommand({
  name: 'volume prune',
  usage: '[OPTIONS]',
  summary: 'Remove unused local volumes',
  options: {
    all: { type: 'bool', short: 'a', help: 'Remove all unused volumes, not just anonymous ones' },
    filter: { type: 'list', value: 'filter', help: 'Provide filter values (e.g. "label=<label>")' },
    force: forceFlag,
  },
  async run({ flags }, io, ctx) {
    const { pruneVolumes, VOLUME_PRUNE_FILTERS } = await import('../../engine/index.js');
    const filters = parseFilters(flags.filter, VOLUME_PRUNE_FILTERS);
    const all = flags.all || filterBoolean(filters, 'all') === true;
    const question = `WARNING! This will remove ${all ? 'all' : 'anonymous'} local volumes not used by at least one container.`;
    if (!flags.force && !(await confirm(io, question))) return 0;
    const { removed, bytes } = await pruneVolumes(ctx, { all, filters });
    if (removed.length > 0) io.out(`Deleted Volumes:\n${removed.join('\n')}\n\n`);
    io.out(`Total reclaimed space: ${humanSize(bytes, 4)}\n`);
    return 0;
  },
});
