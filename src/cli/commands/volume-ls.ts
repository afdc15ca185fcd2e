import { filterBoolean, matches, matchesLabels, parseFilters } from '../../base/index.js';
import { defineCommand, listFlags } from '../command.js';
import { printList } from '../format/list.js';

export const command = defineCommand({
  name: 'volume ls',
  aliases: ['volume list'],
  usage: '[OPTIONS]',
  summary: 'List volumes',
  options: {
    filter: listFlags.filter,
    format: listFlags.format,
    quiet: { ...listFlags.quiet, help: 'Only display volume names' },
  },
  async run({ flags }, io, ctx) {
    const { openVolumes, volumeUsers } = await import('../../engine/index.js');
    const filters = parseFilters(flags.filter, ['dangling', 'driver', 'label', 'name']);
    const dangling = filterBoolean(filters, 'dangling');
    const volumes = openVolumes(ctx)
      .list()
      .filter(
        (v) =>
          matches(filters, 'name', (text) => v.name.includes(text)) &&
          matches(filters, 'driver', (text) => text === 'local') &&
          matchesLabels(filters, v.labels) &&
          (dangling === undefined || (volumeUsers(ctx, v.name).length === 0) === dangling),
      );
    const rows = volumes.map((v) => ({
      Name: v.name,
      Driver: 'local',
      Scope: 'local',
      Mountpoint: v.mountpoint,
      Labels: Object.entries(v.labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(','),
      Size: 'N/A',
      Label: (name: unknown) => v.labels[String(name)] ?? '',
    }));
    printList(
      io,
      rows,
      {
        headings: {
          Name: 'VOLUME NAME',
          Driver: 'DRIVER',
          Scope: 'SCOPE',
          Mountpoint: 'MOUNTPOINT',
          Labels: 'LABELS',
          Size: 'SIZE',
        },
        table: '{{.Driver}}\t{{.Name}}',
        quiet: 'Name',
      },
      flags,
    );
    return 0;
  },
});
