import { filterBoolean, matches, matchesLabels, parseFilters, shortId } from '../../base/index.js';
import { defineCommand, listFlags } from '../command.js';
import { printList } from '../format/list.js';

export const command = defineCommand({
  name: 'network ls',
  aliases: ['network list'],
  usage: '[OPTIONS]',
  summary: 'List networks',
  options: {
    filter: listFlags.filter,
    format: listFlags.format,
    'no-trunc': listFlags['no-trunc'],
    quiet: { ...listFlags.quiet, help: 'Only display network IDs' },
  },
  async run({ flags }, io, ctx) {
    const { openNetworks } = await import('../../network/index.js');
    const filters = parseFilters(flags.filter, [
      'dangling',
      'driver',
      'id',
      'label',
      'name',
      'scope',
      'type',
    ]);
    const dangling = filterBoolean(filters, 'dangling');
    const networks = openNetworks(ctx);
    const driver = (name: string) => (name === 'none' ? 'null' : name);
    const found = (await networks.list()).filter(
      (n) =>
        matches(filters, 'name', (text) => n.name.includes(text)) &&
        matches(filters, 'id', (text) => n.id.startsWith(text)) &&
        matches(filters, 'driver', (text) => driver(n.driver) === text) &&
        matches(filters, 'scope', (text) => text === 'local') &&
        matches(filters, 'type', (text) => text === (n.builtin ? 'builtin' : 'custom')) &&
        matchesLabels(filters, n.labels) &&
        (dangling === undefined || (!n.builtin && networks.endpointsOn(n.id).length === 0) === dangling),
    );
    const rows = found.map((n) => ({
      ID: flags['no-trunc'] ? n.id : shortId(n.id),
      Name: n.name,
      Driver: driver(n.driver),
      Scope: 'local',
      IPv4: String(n.subnets.some((s) => !s.subnet.includes(':'))),
      IPv6: String(n.ipv6),
      Internal: String(n.internal),
      Labels: Object.entries(n.labels)
        .map(([key, value]) => `${key}=${value}`)
        .join(','),
      CreatedAt: n.created,
      Label: (name: unknown) => n.labels[String(name)] ?? '',
    }));
    printList(
      io,
      rows,
      {
        headings: {
          ID: 'NETWORK ID',
          Name: 'NAME',
          Driver: 'DRIVER',
          Scope: 'SCOPE',
          IPv4: 'IPV4',
          IPv6: 'IPV6',
          Internal: 'INTERNAL',
          Labels: 'LABELS',
          CreatedAt: 'CREATED AT',
        },
        table: '{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}',
        quiet: 'ID',
      },
      flags,
    );
    return 0;
  },
});
