// Connects a container to a network and takes it off again, over and over, until it is killed.
// Arguments: root, state, id and pid of the container.
import { makeContext } from '../../src/base/index.js';
import { openNetworks } from '../../src/network/index.js';

const [root = '', state = '', id = '', pid = ''] = process.argv.slice(2);
const networks = openNetworks(makeContext({ root, state }));
process.stdout.write('up\n');
for (;;) {
  for (const step of ['attach', 'detach'] as const) {
    try {
      if (step === 'attach') await networks.attach(id, { network: 'two' }, `/proc/${pid}/ns/net`);
      else await networks.detach(id, 'two', `/proc/${pid}/ns/net`);
    } catch {
      // What the process before left half done: the next step repairs it.
    }
  }
}
