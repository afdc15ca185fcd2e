import { CNI_PLUGINS, criTests } from '../support/cri.js';
import { EngineHost, lacks } from '../support/engine-host.js';
import { ownNetwork } from '../support/own-network.js';

/** The machine's containerd, whose CRI is spoken to as the kubelet does. */
const missing =
  lacks('containerd', '/usr/bin/containerd', '/usr/bin/ctr') ||
  lacks('containernetworking-plugins', ...CNI_PLUGINS);

if (
  ownNetwork(import.meta.filename, {
    first: async () => (missing ? { missing } : { ready: 'here' }),
    seconds: 120,
  })
)
  criTests(() => EngineHost.here());
