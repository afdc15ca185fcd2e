import { shortId } from '../../base/index.js';
import { defineCommand, listFlags } from '../command.js';
import { printList } from '../format/list.js';
import { createdAt, humanSize, timeAgo } from '../format/units.js';

export const command = defineCommand({
  name: 'history',
  aliases: ['image history'],
  usage: '[OPTIONS] IMAGE',
  summary: 'Show the history of an image',
  options: {
    format: listFlags.format,
    human: {
      type: 'bool',
      short: 'H',
      help: 'Print sizes and dates in human readable format',
      default: true,
    },
    'no-trunc': listFlags['no-trunc'],
    quiet: { ...listFlags.quiet, help: 'Only show image IDs' },
  },
  args: { min: 1, max: 1 },
  async run({ flags, args }, io, ctx) {
    const { openImageStore } = await import('../../image/index.js');
    const now = Date.now();
    const rows = (await openImageStore(ctx).history(args[0]!)).map((h) => {
      const by = h.createdBy.replaceAll('\t', ' ');
      return {
        ID: flags['no-trunc'] ? h.id : h.id === '<missing>' ? h.id : shortId(h.id),
        CreatedSince: flags.human ? timeAgo(h.created, now) : h.created,
        CreatedAt: createdAt(h.created),
        CreatedBy: flags['no-trunc'] || by.length <= 45 ? by : `${by.slice(0, 44)}…`,
        Size: flags.human ? humanSize(h.size) : String(h.size),
        Comment: h.comment,
        Tags: h.tags.join(','),
      };
    });
    printList(
      io,
      rows,
      {
        headings: {
          ID: 'IMAGE',
          CreatedSince: 'CREATED',
          CreatedAt: 'CREATED AT',
          CreatedBy: 'CREATED BY',
          Size: 'SIZE',
          Comment: 'COMMENT',
          Tags: 'TAGS',
        },
        table: '{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}',
        quiet: 'ID',
      },
      flags,
    );
    return 0;
  },
});
