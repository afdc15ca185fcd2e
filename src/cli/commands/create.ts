import { InvalidError } from '../../base/index.js';
import { defineCommand } from '../command.js';
import { refuseIdFile, writeIdFile } from '../request/cidfile.js';
import { createFlags } from '../request/flags.js';
import { parseRequest } from '../request/request.js';

export const command = defineCommand({
  name: 'create',
  aliases: ['container create'],
  usage: '[OPTIONS] IMAGE [COMMAND] [ARG...]',
  summary: 'Create a new container',
  options: createFlags,
  args: { min: 1 },
  flagsFirst: true,
  failure: 125,
  async run(input, io, ctx) {
    if (input.flags.attach.length > 0) throw new InvalidError('--attach is for run and start');
    refuseIdFile(input.flags.cidfile, ctx);
    const request = parseRequest(input, ctx);
    const { addVolumesFrom, createContainer, recover } = await import('../../engine/index.js');
    await recover(ctx);
    addVolumesFrom(ctx, request, input.flags['volumes-from']);
    const record = await createContainer(ctx, request);
    writeIdFile(input.flags.cidfile, record.id, ctx);
    io.out(`${record.id}\n`);
    return 0;
  },
});
