import { shortId } from '../../base/index.js';
import { defineCommand, listFlags } from '../command.js';
import { shortCommand, statusText } from '../format/container.js';
import { printList } from '../format/list.js';
import { alignTable } from '../format/table.js';
import { humanSize, timeAgo } from '../format/units.js';

export const command = defineCommand({
  name: 'system df',
  usage: '[OPTIONS]',
  summary: 'Show disk usage',
  options: {
    format: listFlags.format,
    verbose: { type: 'bool', short: 'v', help: 'Show detailed information on space usage' },
  },
  async run({ flags }, io, ctx) {
    const { imageUsage, systemUsage } = await import('../../engine/index.js');
    const usage = systemUsage(ctx);
    const images = await imageUsage(ctx);
    const percent = (part: number, whole: number) =>
      whole > 0 ? ` (${Math.floor((part / whole) * 100)}%)` : '';
    if (flags.verbose && flags.format === undefined) {
      const now = Date.now();
      io.out('Images space usage:\n\n');
      io.out(
        alignTable([
          ['REPOSITORY', 'TAG', 'IMAGE ID', 'CREATED', 'SIZE', 'SHARED SIZE', 'UNIQUE SIZE', 'CONTAINERS'],
          ...images.list.map((i) => [
            i.repository,
            i.tag,
            shortId(i.id),
            timeAgo(i.created, now),
            humanSize(i.size),
            humanSize(i.shared),
            humanSize(i.size - i.shared),
            String(i.users),
          ]),
        ]),
      );
      io.out('\nContainers space usage:\n\n');
      io.out(
        alignTable([
          ['CONTAINER ID', 'IMAGE', 'COMMAND', 'LOCAL VOLUMES', 'SIZE', 'CREATED', 'STATUS', 'NAMES'],
          ...usage.containerList.map((c) => [
            shortId(c.id),
            c.image,
            shortCommand(c.command),
            String(c.volumes),
            humanSize(c.size),
            timeAgo(c.created, now),
            statusText(c, now),
            c.name,
          ]),
        ]),
      );
      io.out('\nLocal Volumes space usage:\n\n');
      io.out(
        alignTable([
          ['VOLUME NAME', 'LINKS', 'SIZE'],
          ...usage.volumeList.map((v) => [v.name, String(v.users), humanSize(v.size)]),
        ]),
      );
      return 0;
    }
    const rows = (
      [
        ['Images', images.sum],
        ['Containers', usage.containers],
        ['Local Volumes', usage.volumes],
      ] as const
    ).map(([type, u]) => ({
      Type: type,
      TotalCount: String(u.total),
      Active: String(u.active),
      Size: humanSize(u.size),
      Reclaimable: `${humanSize(u.reclaimable)}${percent(u.reclaimable, u.size)}`,
    }));
    printList(
      io,
      rows,
      {
        headings: {
          Type: 'TYPE',
          TotalCount: 'TOTAL',
          Active: 'ACTIVE',
          Size: 'SIZE',
          Reclaimable: 'RECLAIMABLE',
        },
        table: '{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}',
        quiet: 'Type',
      },
      { format: flags.format },
    );
    return 0;
  },
});
