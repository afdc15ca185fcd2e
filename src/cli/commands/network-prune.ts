import { parseFilters } from '../../base/index.js';
import { defineCommand, forceFlag } from '../command.js';
import { confirm } from '../each.js';

export const command = defineCommand({
  name: 'network prune',
  usage: '[OPTIONS]',
  summary: 'Remove all unused networks',
  options: {
    filter: { type: 'list', value: 'filter', help: 'Provide filter values (e.g. "until=<timestamp>")' },
    force: forceFlag,
  },
  async run({ flags }, io, ctx) {
    const { pruneNetworks } = await import('../../engine/index.js');
    const filters = parseFilters(flags.filter, ['label', 'label!', 'until']);
    const question = 'WARNING! This will remove all custom networks not used by at least one container.';
    if (!flags.force && !(await confirm(io, question))) return 0;
    const { removed } = await pruneNetworks(ctx, filters);
    if (removed.length > 0) io.out(`Deleted Networks:\n${removed.join('\n')}\n\n`);
    return 0;
  },
});
