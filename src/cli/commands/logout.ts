import { defineCommand } from '../command.js';

export const command = defineCommand({
  name: 'logout',
  usage: '[SERVER]',
  summary: 'Log out from a registry',
  options: {},
  args: { max: 1 },
  rootless: true,
  async run({ args }, io, ctx) {
    const { openImageStore } = await import('../../image/index.js');
    const { domain, found } = await openImageStore(ctx).logout(args[0]);
    io.out(found ? `Removing login credentials for ${domain}\n` : `Not logged in to ${domain}\n`);
    return 0;
  },
});
