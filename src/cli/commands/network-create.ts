import { InvalidError, UnsupportedError } from '../../base/index.js';
import type { SubnetRecord } from '../../network/index.js';
import { defineCommand } from '../command.js';
import { parseLabels, parseMap } from '../request/lists.js';

export const command = defineCommand({
  name: 'network create',
  usage: '[OPTIONS] NETWORK',
  summary: 'Create a network',
  details: `Drivers: bridge (default), macvlan and ipvlan (-o parent=eth0, -o macvlan_mode=, -o ipvlan_mode=l2|l3),
vxlan (--peer ADDRESS for each other host, --subnet the same and --ip-range another on each host), and cni (a
configuration list of /etc/cni/net.d with the network's name, or -o cni.list=NAME).`,
  options: {
    driver: { type: 'string', short: 'd', help: 'Driver to manage the network', default: 'bridge' },
    subnet: {
      type: 'list',
      value: 'subnet',
      help: 'Subnet in CIDR format that represents a network segment',
    },
    gateway: { type: 'list', value: 'address', help: 'IPv4 or IPv6 gateway for the subnet' },
    'ip-range': { type: 'list', value: 'range', help: 'Allocate container ip from a sub-range' },
    'aux-address': { type: 'list', value: 'map', help: 'Auxiliary addresses that are never handed out' },
    ipv4: { type: 'bool', help: 'Enable IPv4 address assignment', default: true },
    ipv6: { type: 'bool', help: 'Enable IPv6 address assignment' },
    internal: { type: 'bool', help: 'Restrict external access to the network' },
    opt: { type: 'list', short: 'o', value: 'map', help: 'Set driver specific options (mtu=1400, …)' },
    label: { type: 'list', help: 'Set metadata on a network' },
    dns: { type: 'list', value: 'address', help: "DNS servers for names that aren't containers'" },
    peer: { type: 'list', value: 'address', help: 'vxlan: address of another host of the network' },
    attachable: { type: 'bool', help: 'Enable manual container attachment (always so)', hidden: true },
    'ipam-driver': { type: 'string', help: 'IP Address Management Driver', default: 'default', hidden: true },
    ingress: { type: 'bool', help: '', refused: 'there is no swarm routing mesh' },
    scope: { type: 'string', help: '', refused: 'networks are local' },
    'config-only': { type: 'bool', help: '', refused: 'there are no configuration-only networks' },
    'config-from': { type: 'string', help: '', refused: 'there are no configuration-only networks' },
    'ipam-opt': { type: 'list', help: '', refused: 'address management has no options' },
  },
  args: { min: 1, max: 1 },
  async run({ flags, args }, io, ctx) {
    if (flags['ipam-driver'] !== 'default') {
      throw new UnsupportedError(`there is no IPAM driver '${flags['ipam-driver']}' (only default)`);
    }
    const { parseAddress, parseCidr, contains, openNetworks } = await import('../../network/index.js');
    const subnets: SubnetRecord[] = flags.subnet.map((subnet) => ({ subnet }));
    const place = (what: string, text: string): SubnetRecord => {
      const bytes = text.includes('/') ? parseCidr(text, true).bytes : parseAddress(text);
      const found = subnets.find((s) => contains(parseCidr(s.subnet), bytes));
      if (found) return found;
      throw new InvalidError(
        subnets.length ? `no matching subnet for ${what} ${text}` : `${what} ${text} needs a --subnet`,
      );
    };
    for (const text of flags.gateway) place('--gateway', text).gateway = text;
    for (const text of flags['ip-range']) place('--ip-range', text).ipRange = text;
    for (const [name, text] of Object.entries(parseMap('--aux-address', flags['aux-address']))) {
      const subnet = place('--aux-address', text);
      subnet.aux = { ...subnet.aux, [name]: text };
    }
    const network = await openNetworks(ctx).create({
      name: args[0]!,
      driver: flags.driver,
      subnets,
      ipv4: flags.ipv4,
      ipv6: flags.ipv6,
      internal: flags.internal,
      options: parseMap('network option', flags.opt),
      labels: parseLabels([], flags.label, ctx),
      dns: flags.dns,
      peers: flags.peer,
    });
    io.out(`${network.id}\n`);
    return 0;
  },
});
