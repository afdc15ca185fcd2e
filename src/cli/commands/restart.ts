import { defineCommand } from '../command.js';
import { forEach } from '../each.js';

export const command = defineCommand({
  name: 'restart',
  aliases: ['container restart'],
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  summary: 'Restart one or more containers',
  options: {
    signal: { type: 'string', short: 's', help: 'Signal to send to the container' },
    time: { type: 'int', short: 't', help: 'Seconds to wait before killing the container' },
    timeout: { type: 'int', help: 'Seconds to wait before killing the container', hidden: true },
  },
  args: { min: 1 },
  async run({ flags, args }, io, ctx) {
    const { findContainer, recover, restartContainer } = await import('../../engine/index.js');
    await recover(ctx);
    const options = { signal: flags.signal, timeout: flags.time ?? flags.timeout };
    return forEach(io, args, (name) => restartContainer(ctx, findContainer(ctx, name), options));
  },
});
