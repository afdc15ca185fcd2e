import { parseFilters } from '../../base/index.js';
import { defineCommand, forceFlag } from '../command.js';
import { confirm } from '../each.js';
import { humanSize } from '../format/units.js';

export const command = defineCommand({
  name: 'image prune',
  usage: '[OPTIONS]',
  summary: 'Remove unused images',
  options: {
    all: { type: 'bool', short: 'a', help: 'Remove all unused images, not just dangling ones' },
    filter: { type: 'list', value: 'filter', help: 'Provide filter values (e.g. "until=<timestamp>")' },
    force: forceFlag,
  },
  async run({ flags }, io, ctx) {
    const { IMAGE_PRUNE_FILTERS, pruneImages } = await import('../../engine/index.js');
    const filters = parseFilters(flags.filter, IMAGE_PRUNE_FILTERS);
    const question = flags.all
      ? 'WARNING! This will remove all images without at least one container associated to them.'
      : 'WARNING! This will remove all dangling images.';
    if (!flags.force && !(await confirm(io, question))) return 0;
    const { removed, bytes } = await pruneImages(ctx, flags.all, filters);
    if (removed.length > 0) io.out(`Deleted Images:\n${removed.join('\n')}\n\n`);
    io.out(`Total reclaimed space: ${humanSize(bytes, 4)}\n`);
    return 0;
  },
});
