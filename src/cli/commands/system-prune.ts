import { InvalidError, parseFilters } from '../../base/index.js';
import { defineCommand, forceFlag } from '../command.js';
import { confirm } from '../each.js';
import { humanSize } from '../format/units.js';

export const command = defineCommand({
  name: 'system prune',
  usage: '[OPTIONS]',
  summary: 'Remove unused data',
  options: {
    all: { type: 'bool', short: 'a', help: 'Remove all unused images not just dangling ones' },
    filter: { type: 'list', value: 'filter', help: 'Provide filter values (e.g. "label=<key>=<value>")' },
    force: forceFlag,
    volumes: { type: 'bool', help: 'Prune anonymous volumes' },
  },
  async run({ flags }, io, ctx) {
    const engine = await import('../../engine/index.js');
    const filters = parseFilters(flags.filter, engine.PRUNE_FILTERS);
    if (flags.volumes && filters.has('until'))
      throw new InvalidError('the "until" filter is not supported with "--volumes"');
    const lines = [
      'all stopped containers',
      'all networks not used by at least one container',
      ...(flags.volumes ? ['all anonymous volumes not used by at least one container'] : []),
      flags.all ? 'all images without at least one container associated to them' : 'all dangling images',
    ];
    const listed = (texts: readonly string[]) => texts.map((l) => `  - ${l}\n`).join('');
    const filtered =
      flags.filter.length > 0
        ? `\n  Items to be pruned will be filtered with:\n${listed([...flags.filter].sort())}`
        : '';
    const question = `WARNING! This will remove:\n${listed(lines)}${filtered}`;
    if (!flags.force && !(await confirm(io, question))) return 0;
    await engine.recover(ctx);
    const parts: [string, { removed: string[]; bytes: number }][] = [
      ['Containers', await engine.pruneContainers(ctx, filters)],
      ['Networks', await engine.pruneNetworks(ctx, filters)],
    ];
    engine.pruneDeviceFiles(ctx);
    if (flags.volumes) parts.push(['Volumes', await engine.pruneVolumes(ctx, { filters })]);
    parts.push(['Images', await engine.pruneImages(ctx, flags.all, filters)]);
    let bytes = 0;
    for (const [what, pruned] of parts) {
      bytes += pruned.bytes;
      if (pruned.removed.length > 0) io.out(`Deleted ${what}:\n${pruned.removed.join('\n')}\n\n`);
    }
    io.out(`Total reclaimed space: ${humanSize(bytes, 4)}\n`);
    return 0;
  },
});
