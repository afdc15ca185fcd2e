import { ctrTests } from '../support/containerd.js';
import { EngineHost, lacks } from '../support/engine-host.js';
import { ownNetwork } from '../support/own-network.js';

/** The machine's containerd (Debian 12's is 1.6), whose shim calls nsbox-oci. */
const missing = lacks('containerd', '/usr/bin/containerd', '/usr/bin/ctr');

if (
  ownNetwork(import.meta.filename, {
    first: async () => (missing ? { missing } : { ready: 'here' }),
    seconds: 120,
  })
)
  ctrTests(/Version:\s+1\.[67]/, () => EngineHost.here());
