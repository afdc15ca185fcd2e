import { debianTar } from '../../rootfs-tools/debian.js';
import { ctrTests } from '../support/containerd.js';
import { CNI_PLUGINS, criTests } from '../support/cri.js';
import { dockerTests } from '../support/docker.js';
import { EngineHost, lacks } from '../support/engine-host.js';
import { ownNetwork, prepared } from '../support/own-network.js';

/**
 * Debian 13's dockerd (26) and containerd (1.7, by ctr and by CRI), in a chroot made by debootstrap, with nsbox-oci of this checkout. The
 * tree is made once, which takes two minutes and needs Debian's mirror; it is kept in ~/.cache/nsbox.
 */
async function tree(): Promise<{ missing: string } | { ready: string }> {
  const missing =
    lacks('debootstrap', '/usr/sbin/debootstrap') || lacks('containernetworking-plugins', ...CNI_PLUGINS);
  if (missing) return { missing };
  try {
    return {
      ready: await debianTar({
        suite: 'trixie',
        include: ['containerd', 'docker-cli', 'docker.io', 'procps', 'tini'],
        progress: (line) => console.log(`# waiting for ${line}`),
      }),
    };
  } catch (error) {
    return { missing: `no Debian 13 could be made: ${(error as Error).message.split('\n').at(-1)}` };
  }
}

if (ownNetwork(import.meta.filename, { first: tree })) {
  dockerTests(/^2[6-9]\./, (directory) => EngineHost.debian(prepared(), directory));
  ctrTests(/Version:\s+1\.7/, (directory) => EngineHost.debian(prepared(), directory));
  criTests((directory) => EngineHost.debian(prepared(), directory));
}
