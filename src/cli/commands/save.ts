import { createWriteStream } from 'node:fs';
import path from 'node:path';
import { fromErrno, InvalidError } from '../../base/index.js';
import { defineCommand } from '../command.js';

export const command = defineCommand({
  name: 'save',
  aliases: ['image save'],
  usage: '[OPTIONS] IMAGE [IMAGE...]',
  summary: 'Save images to an archive (streamed to STDOUT by default)',
  options: {
    output: { type: 'string', short: 'o', value: 'file', help: 'Write to a file, instead of STDOUT' },
    format: {
      type: 'string',
      help: 'docker-archive, oci-archive, oci-dir or docker-dir',
      default: 'docker-archive',
    },
    platform: {
      type: 'string',
      help: 'Save only the given platform',
      refused: 'nsbox keeps one platform of an image',
    },
  },
  args: { min: 1 },
  async run({ flags, args }, io, ctx) {
    const format = flags.format;
    if (format === 'oci-dir' || format === 'docker-dir') {
      if (flags.output === undefined) throw new InvalidError(`--format ${format} needs -o DIRECTORY`);
      if (format === 'docker-dir' && args.length > 1)
        throw new InvalidError('a docker-dir holds one image', { hint: 'oci-dir holds several' });
      const { canonical, openImageStore, parseReference } = await import('../../image/index.js');
      const store = openImageStore(ctx);
      const directory = path.resolve(ctx.cwd, flags.output);
      for (const name of args) {
        const [tag] = (await store.resolve(name)).repoTags;
        const reference = tag === undefined ? undefined : canonical(parseReference(tag));
        await store.copyTo(
          name,
          format === 'oci-dir'
            ? { transport: 'oci', path: directory, reference }
            : { transport: 'dir', path: directory },
        );
      }
      return 0;
    }
    if (format !== 'docker-archive' && format !== 'oci-archive') {
      throw new InvalidError(
        `--format: expected docker-archive, oci-archive, oci-dir or docker-dir, received ${JSON.stringify(format)}`,
      );
    }
    if (flags.output === undefined && io.tty.stdout) {
      throw new InvalidError('an archive is not written to a terminal', {
        hint: 'use -o FILE, or redirect it',
      });
    }
    const { openImageStore } = await import('../../image/index.js');
    const pieces = await openImageStore(ctx).save(args, format);
    // The names are looked up before a file is made.
    const first = await pieces.next();
    const all = (async function* () {
      if (!first.done) yield first.value;
      for await (const piece of pieces) yield Buffer.from(piece);
    })();
    const { pipeline } = await import('node:stream/promises');
    const { Readable } = await import('node:stream');
    const { renameSync, rmSync } = await import('node:fs');
    const source = Readable.from(all, { objectMode: false, highWaterMark: 1 << 20 });
    if (flags.output === undefined) {
      await pipeline(source, io.stdout, { end: false });
      return 0;
    }
    const file = path.resolve(ctx.cwd, flags.output);
    const partial = `${file}.partial`;
    try {
      await pipeline(source, createWriteStream(partial));
      renameSync(partial, file);
    } catch (error) {
      rmSync(partial, { force: true });
      throw fromErrno(`write ${file}`, error, { path: file });
    }
    return 0;
  },
});
