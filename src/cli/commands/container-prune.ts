import { parseFilters } from '../../base/index.js';
import { defineCommand, forceFlag } from '../command.js';
import { confirm } from '../each.js';
import { humanSize } from '../format/units.js';

export const command = defineCommand({
  name: 'container prune',
  usage: '[OPTIONS]',
  summary: 'Remove all stopped containers',
  options: {
    filter: { type: 'list', value: 'filter', help: 'Provide filter values (e.g. "until=<timestamp>")' },
    force: forceFlag,
  },
  async run({ flags }, io, ctx) {
    const { PRUNE_FILTERS, pruneContainers, recover } = await import('../../engine/index.js');
    const filters = parseFilters(flags.filter, PRUNE_FILTERS);
    if (!flags.force && !(await confirm(io, 'WARNING! This will remove all stopped containers.'))) return 0;
    await recover(ctx);
    const { removed, bytes } = await pruneContainers(ctx, filters);
    if (removed.length > 0) io.out(`Deleted Containers:\n${removed.join('\n')}\n\n`);
    io.out(`Total reclaimed space: ${humanSize(bytes, 4)}\n`);
    return 0;
  },
});
