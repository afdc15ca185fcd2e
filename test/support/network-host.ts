// nsbox's networks on another host of a test: makes a network and wires a container, prints its addresses.
// Arguments: root, state, pid of the container, JSON of the network, JSON of the request.
import { makeContext } from '../../src/base/index.js';
import { openNetworks } from '../../src/network/index.js';

const [root = '', state = '', pid = '', network = '{}', request = '{}'] = process.argv.slice(2);
const networks = openNetworks(makeContext({ root, state }));
await networks.create(JSON.parse(network));
const settings = await networks.prepare({
  containerId: 'b'.repeat(64),
  containerName: 'there',
  hostname: 'there',
  requests: [JSON.parse(request)],
});
await networks.connect(settings, `/proc/${pid}/ns/net`);
console.log(settings.endpoints[0]!.ipv4!.address);
process.exit(0);
