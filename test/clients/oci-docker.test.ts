import { dockerTests } from '../support/docker.js';
import { EngineHost, lacks } from '../support/engine-host.js';
import { ownNetwork } from '../support/own-network.js';

/** The machine's dockerd (Debian 12's is 20.10) with nsbox-oci as its default runtime. */
const missing = lacks('docker.io', '/usr/sbin/dockerd', '/usr/bin/docker');

if (
  ownNetwork(import.meta.filename, {
    first: async () => (missing ? { missing } : { ready: 'here' }),
    seconds: 180,
  })
)
  dockerTests(/^\d+\.\d+/, () => EngineHost.here());
