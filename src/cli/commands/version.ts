import { defineCommand, formatFlag } from '../command.js';

export const command = defineCommand({
  name: 'version',
  usage: '[OPTIONS]',
  summary: 'Show the nsbox version information',
  options: { format: formatFlag },
  rootless: true,
  async run(_input, io, _ctx) {
    io.out('');
    return 0;
  },
});
