import { parseFilters } from '../../base/index.js';
import { defineCommand, listFlags } from '../command.js';
import { CONTAINER_LIST, containerRow } from '../format/container.js';
import { printList } from '../format/list.js';

export const command = defineCommand({
  name: 'ps',
  aliases: ['container ls', 'container list', 'container ps'],
  usage: '[OPTIONS]',
  summary: 'List containers',
  options: {
    ...listFlags,
    all: { type: 'bool', short: 'a', help: 'Show all containers (default shows just running)' },
    last: {
      type: 'int',
      short: 'n',
      help: 'Show n last created containers (includes all states)',
      default: -1,
    },
    latest: { type: 'bool', short: 'l', help: 'Show the latest created container (includes all states)' },
    size: { type: 'bool', short: 's', help: 'Display total file sizes' },
  },
  async run({ flags }, io, ctx) {
    const { CONTAINER_FILTERS, listSummaries, recover } = await import('../../engine/index.js');
    const filters = parseFilters(flags.filter, CONTAINER_FILTERS);
    await recover(ctx);
    const size = flags.size || /\.Size\b/.test(flags.format ?? '');
    const summaries = listSummaries(ctx, {
      all: flags.all,
      last: flags.latest ? 1 : flags.last,
      filters,
      size,
    });
    const now = Date.now();
    const rows = summaries.map((s) => containerRow(s, { truncate: !flags['no-trunc'], now }));
    const table = flags.size ? `${CONTAINER_LIST.table}\t{{.Size}}` : CONTAINER_LIST.table;
    printList(io, rows, { ...CONTAINER_LIST, table }, flags);
    return 0;
  },
});
