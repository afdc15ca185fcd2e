import { InvalidError } from '../../base/index.js';
import { defineCommand } from '../command.js';
import { forEach } from '../each.js';
import { printList } from '../format/list.js';

export const command = defineCommand({
  name: 'image mount',
  usage: '[OPTIONS] [IMAGE...]',
  summary: 'Mount the filesystem of an image read-only, and print where',
  details:
    'Without an image: lists what is mounted. Each mount asks for an unmount of its own.\n' +
    'An image that is mounted keeps its layers; programs and devices in the mount have no effect.',
  options: {
    all: { type: 'bool', short: 'a', help: 'Mount all images' },
    format: { type: 'string', help: "Format of the list: 'json' or a Go template" },
  },
  args: { max: Number.POSITIVE_INFINITY },
  async run({ flags, args }, io, ctx) {
    if (flags.all && args.length > 0) throw new InvalidError('--all takes no image');
    const { openImageStore } = await import('../../image/index.js');
    const store = openImageStore(ctx);
    const wanted = flags.all ? (await store.list()).map((image) => image.id) : args;
    if (wanted.length > 0 || flags.all) {
      const one = wanted.length === 1;
      return forEach(
        io,
        wanted,
        async (name) => {
          const directory = await store.mount(name);
          io.out(one ? `${directory}\n` : `${name} ${directory}\n`);
        },
        () => undefined,
      );
    }
    const rows = (await store.mounts()).flatMap(({ id, names, directory }) =>
      (names.length > 0 ? names : ['<none>:<none>']).map((name) => {
        const colon = name.lastIndexOf(':');
        return {
          ID: id.slice(7),
          Repository: name.slice(0, colon),
          Tag: name.slice(colon + 1),
          Name: name,
          Mountpoint: directory,
        };
      }),
    );
    if (flags.format === undefined) io.out(rows.map((r) => `${r.Name} ${r.Mountpoint}\n`).join(''));
    else {
      const headings = {
        ID: 'ID',
        Repository: 'REPOSITORY',
        Tag: 'TAG',
        Name: 'NAME',
        Mountpoint: 'MOUNTPOINT',
      };
      printList(
        io,
        rows,
        { headings, table: '{{.Name}}\t{{.Mountpoint}}', quiet: 'ID' },
        { format: flags.format },
      );
    }
    return 0;
  },
});
