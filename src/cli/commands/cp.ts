import path from 'node:path';
import { InvalidError } from '../../base/index.js';
import { defineCommand } from '../command.js';
import { humanSize } from '../format/units.js';

export const command = defineCommand({
  name: 'cp',
  aliases: ['container cp'],
  usage:
    '[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n        nsbox cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH',
  summary: 'Copy files/folders between a container and the local filesystem',
  details:
    "Use '-' as the source to read a tar archive from stdin and extract it to a directory in the container.\n" +
    "Use '-' as the destination to stream a tar archive of a container source to stdout.",
  options: {
    archive: { type: 'bool', short: 'a', help: 'Archive mode (copy all uid/gid information)' },
    'follow-link': { type: 'bool', short: 'L', help: 'Always follow symbol link in SRC_PATH' },
    quiet: { type: 'bool', short: 'q', help: 'Suppress progress output during copy' },
  },
  args: { min: 2, max: 2 },
  async run({ flags, args }, io, ctx) {
    const [from, to] = args.map(splitPlace) as [Place, Place];
    if (from.container !== undefined && to.container !== undefined) {
      throw new InvalidError('copying between containers is not supported');
    }
    if (from.container === undefined && to.container === undefined) {
      throw new InvalidError('must specify at least one container source', {
        hint: 'CONTAINER:PATH names one',
      });
    }
    const engine = await import('../../engine/index.js');
    const record = engine.findContainer(ctx, (from.container ?? to.container)!);
    const options = { archive: flags.archive, followLink: flags['follow-link'] };
    if (from.container !== undefined && to.file === '-') {
      if (io.tty.stdout) throw new InvalidError('refusing to write a tar archive to a terminal: redirect it');
      await engine.archiveFromContainer(ctx, record, from.file, io.stdout, options);
      return 0;
    }
    if (to.container !== undefined && from.file === '-') {
      await engine.archiveToContainer(ctx, record, io.stdin, to.file, options);
      return 0;
    }
    const local = (file: string) => {
      const full = path.resolve(ctx.cwd, file);
      const tail = /\/\.?$/.exec(file)?.[0] ?? (file === '.' ? '/.' : '');
      return full === '/' ? tail || '/' : full + tail;
    };
    const { bytes } =
      from.container !== undefined
        ? await engine.copyFromContainer(ctx, record, from.file, local(to.file), options)
        : await engine.copyToContainer(ctx, record, local(from.file), to.file, options);
    if (!flags.quiet && io.tty.stderr) {
      const where = to.container === undefined ? local(to.file) : `${record.name}:${to.file}`;
      io.err(`Successfully copied ${humanSize(bytes)} to ${where}\n`);
    }
    return 0;
  },
});

interface Place {
  container: string | undefined;
  file: string;
}

/** `name:path`; a colon in a path that begins with `.` or `/` is part of it. */
function splitPlace(text: string): Place {
  const colon = text.indexOf(':');
  if (colon <= 0 || text.startsWith('/') || text.startsWith('.')) return { container: undefined, file: text };
  return { container: text.slice(0, colon), file: text.slice(colon + 1) || '/' };
}
