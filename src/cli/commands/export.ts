import { createWriteStream } from 'node:fs';
import path from 'node:path';
import { InvalidError } from '../../base/index.js';
import { defineCommand } from '../command.js';

export const command = defineCommand({
  name: 'export',
  aliases: ['container export'],
  usage: '[OPTIONS] CONTAINER',
  summary: "Export a container's filesystem as a tar archive",
  options: {
    output: { type: 'string', short: 'o', help: 'Write to a file, instead of STDOUT' },
  },
  args: { min: 1, max: 1 },
  async run({ flags, args }, io, ctx) {
    const { exportContainer, findContainer, writeAll } = await import('../../engine/index.js');
    const record = findContainer(ctx, args[0]!);
    if (flags.output === undefined) {
      if (io.tty.stdout) {
        throw new InvalidError('cowardly refusing to save to a terminal: use the -o flag or redirect');
      }
      await writeAll(exportContainer(ctx, record), io.stdout);
      return 0;
    }
    const file = createWriteStream(path.resolve(ctx.cwd, flags.output), { mode: 0o600 });
    await writeAll(exportContainer(ctx, record), file);
    await new Promise((done) => file.end(done));
    return 0;
  },
});
