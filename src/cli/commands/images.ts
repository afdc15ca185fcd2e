import {
  filterBoolean,
  InvalidError,
  matches,
  matchesLabels,
  parseFilters,
  shortId,
} from '../../base/index.js';
import { defineCommand, listFlags } from '../command.js';
import { type ListDescription, printList } from '../format/list.js';
import { createdAt, humanSize, timeAgo } from '../format/units.js';

const IMAGE_LIST: ListDescription = {
  headings: {
    ID: 'IMAGE ID',
    Repository: 'REPOSITORY',
    Tag: 'TAG',
    Digest: 'DIGEST',
    CreatedSince: 'CREATED',
    CreatedAt: 'CREATED AT',
    Size: 'SIZE',
    VirtualSize: 'SIZE',
    SharedSize: 'SHARED SIZE',
    UniqueSize: 'UNIQUE SIZE',
    Containers: 'CONTAINERS',
  },
  table: '{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}',
  quiet: 'ID',
};

export const command = defineCommand({
  name: 'images',
  aliases: ['image ls', 'image list'],
  usage: '[OPTIONS] [REPOSITORY[:TAG]]',
  summary: 'List images',
  options: {
    ...listFlags,
    all: { type: 'bool', short: 'a', help: 'Show all images' },
    digests: { type: 'bool', help: 'Show digests' },
    tree: {
      type: 'bool',
      help: 'List multi-platform images as a tree',
      refused: 'nsbox keeps one platform of an image',
    },
  },
  args: { max: 1 },
  async run({ flags, args }, io, ctx) {
    const { openImageStore, familiar, parseReference, canonical, splitName } = await import(
      '../../image/index.js'
    );
    const filters = parseFilters(flags.filter, [
      'dangling',
      'label',
      'before',
      'since',
      'reference',
      'until',
    ]);
    const store = openImageStore(ctx);
    const dangling = filterBoolean(filters, 'dangling');
    const bounds = async (key: string) =>
      Promise.all((filters.get(key) ?? []).map(async (text) => (await store.resolve(text)).created));
    const before = await bounds('before');
    const since = await bounds('since');
    const until = (filters.get('until') ?? []).map((text) => instant(text));
    const wanted = args[0];
    const wantsTag = wanted !== undefined && /:[^/]*$/.test(wanted);
    const wantedName =
      wanted === undefined || /[*?[]/.test(wanted) ? wanted : familiar(canonical(parseReference(wanted)));
    const now = Date.now();
    const rows: Record<string, unknown>[] = [];
    for (const image of await store.list()) {
      if (dangling !== undefined && (image.repoTags.length === 0) !== dangling) continue;
      if (!matchesLabels(filters, image.config.config?.Labels ?? {})) continue;
      if (before.some((limit) => image.created >= limit) || since.some((limit) => image.created <= limit))
        continue;
      if (until.some((limit) => Date.parse(image.created) >= limit)) continue;
      const names = image.repoTags.length > 0 ? image.repoTags : [undefined];
      for (const name of names) {
        const [repository, tag] = splitName(name);
        const fits = (pattern: string) =>
          name !== undefined && (glob(pattern, name) || glob(pattern, repository));
        if (!matches(filters, 'reference', fits)) continue;
        if (wantedName !== undefined) {
          const whole = wantsTag ? name : repository;
          const pattern = wantsTag ? wantedName : wantedName.replace(/:latest$/, '');
          if (whole === undefined || !glob(pattern, whole)) continue;
        }
        const digest =
          image.repoDigests.find((d) => d.startsWith(`${repository}@`))?.split('@')[1] ?? '<none>';
        rows.push({
          ID: flags['no-trunc'] ? image.id : shortId(image.id),
          Repository: repository,
          Tag: tag,
          Digest: digest,
          CreatedSince: timeAgo(image.created, now),
          CreatedAt: createdAt(image.created),
          Size: humanSize(image.size),
          VirtualSize: humanSize(image.size),
          SharedSize: 'N/A',
          UniqueSize: 'N/A',
          Containers: 'N/A',
        });
      }
    }
    // An id is printed once, however many names it has.
    const shown = flags.quiet ? [...new Map(rows.map((r) => [r['ID'], r])).values()] : rows;
    const table = flags.digests
      ? '{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}'
      : IMAGE_LIST.table;
    printList(io, shown, { ...IMAGE_LIST, table }, flags);
    return 0;
  },
});

/** Shell patterns, where `*` stops at a slash, as Docker's reference filter has them. */
function glob(pattern: string, text: string): boolean {
  const source = pattern
    .replace(/[.+^${}()|\\]/g, '\\$&')
    .replace(/\*/g, '[^/]*')
    .replace(/\?/g, '[^/]');
  try {
    return new RegExp(`^${source}$`).test(text);
  } catch {
    throw new InvalidError(`invalid pattern '${pattern}'`);
  }
}

function instant(text: string): number {
  const m = /^(\d+)([smhd])$/.exec(text);
  const unit = { s: 1e3, m: 6e4, h: 3.6e6, d: 8.64e7 }[m?.[2] ?? ''];
  const at = m && unit ? Date.now() - Number(m[1]) * unit : Date.parse(text);
  if (Number.isNaN(at)) throw new InvalidError(`invalid time '${text}'`);
  return at;
}
