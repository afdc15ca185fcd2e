import { closeSync, openSync } from 'node:fs';
import { InvalidError } from '../base/index.js';
import { addAddress, getLink, listAddresses, moveLink, Netlink, setLinkUp } from '../kernel/index.js';
import type { SpecLinux } from '../spec/index.js';

/**
 * `linux.netDevices`: interfaces of the host go into the container's network namespace, under the name asked for,
 * with the global addresses they have, and are up. When the namespace ends, the kernel gives hardware back.
 * @param pid a process in the container's network namespace
 * @throws InvalidError for an interface that isn't there, or a name that is taken in the container; NetlinkError
 * @see https://github.com/opencontainers/runtime-spec/blob/v1.3.0/config-linux.md#network-devices
 */
export function moveNetDevices(devices: NonNullable<SpecLinux['netDevices']>, pid: number): void {
  const path = `/proc/${pid}/ns/net`;
  const netns = openSync(path, 'r');
  using host = new Netlink();
  using container = new Netlink(path);
  try {
    for (const [from, { name = from }] of Object.entries(devices)) {
      const link = getLink(host, from);
      if (!link) throw new InvalidError(`linux.netDevices: no such network device on the host: ${from}`);
      if (getLink(container, name)) {
        throw new InvalidError(`linux.netDevices: the container has a network device ${name} already`);
      }
      // Moving a link takes its addresses away. Those of a link alone (fe80::/10) come back by themselves.
      const global = listAddresses(host).filter(
        (a) =>
          a.index === link.index && !(a.address.length === 16 && a.address.readUInt16BE(0) >> 6 === 0x3fa),
      );
      host.run([moveLink(link.index, netns, name)]);
      const moved = getLink(container, name);
      if (!moved)
        throw new InvalidError(`linux.netDevices: ${from} did not arrive in the container as ${name}`);
      container.run([...global.map((a) => addAddress(moved.index, a.address, a.prefix)), setLinkUp(name)]);
    }
  } finally {
    closeSync(netns);
  }
}
