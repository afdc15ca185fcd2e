import { defineCommand } from '../command.js';

export const command = defineCommand({
  name: 'network reload',
  usage: '',
  summary: 'Rebuild missing bridges and the nftables rules of all networks from their records',
  details:
    'For when something else flushed the rules, as `nft flush ruleset` or the restart of a firewall does.',
  options: {},
  async run(_input, _io, ctx) {
    const { openNetworks } = await import('../../network/index.js');
    await openNetworks(ctx).reload();
    return 0;
  },
});
