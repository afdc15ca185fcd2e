import { defineCommand } from '../command.js';
import { parseNetworks } from '../request/network.js';

export const command = defineCommand({
  name: 'network connect',
  usage: '[OPTIONS] NETWORK CONTAINER',
  summary: 'Connect a container to a network',
  options: {
    alias: { type: 'list', help: 'Add network-scoped alias for the container' },
    ip: { type: 'string', help: 'IPv4 address (e.g., "172.30.100.104")' },
    ip6: { type: 'string', help: 'IPv6 address (e.g., "2001:db8::33")' },
    'mac-address': { type: 'string', help: 'MAC address of the interface' },
    link: { type: 'list', help: '', refused: 'links are Docker’s legacy; names resolve on user networks' },
    'link-local-ip': { type: 'list', help: '', refused: 'link-local addresses are the kernel’s' },
    'driver-opt': { type: 'list', help: '', refused: 'no driver has options per endpoint' },
    'gw-priority': { type: 'int', help: '', refused: 'the first network leads out' },
  },
  args: { min: 2, max: 2 },
  async run({ flags, args }, _io, ctx) {
    const { connectNetwork } = await import('../../engine/index.js');
    const [request] = parseNetworks([args[0]!], {
      aliases: flags.alias,
      ip: flags.ip,
      ip6: flags.ip6,
      mac: flags['mac-address'],
    });
    await connectNetwork(ctx, args[1]!, request!);
    return 0;
  },
});
