import { networkInterfaces } from 'node:os';
import { forgetFlow, Netlink, trackedFlows } from '../kernel/index.js';
import { parseAddress } from './address.js';
import type { PortBinding } from './types.js';

/** Protocols without a beginning or with an end that the kernel may miss. TCP tells both. */
const NUMBERS: Partial<Record<PortBinding['protocol'], number>> = { udp: 17, sctp: 132 };

/**
 * Forgets the flows to published ports. The kernel looks a flow's translation up once, with its first packet; a
 * client that keeps its source port would go on to talk to the container that was there before, or to none.
 * Flows of the host to such a port elsewhere stay.
 */
export function forgetFlows(ports: readonly PortBinding[]): void {
  const without = ports.filter((p) => NUMBERS[p.protocol] !== undefined);
  if (without.length === 0) return;
  using socket = new Netlink(undefined, 'netfilter');
  const local = new Set(
    Object.values(networkInterfaces()).flatMap((list) =>
      (list ?? []).map((a) => Buffer.from(parseAddress(a.address.replace(/%.*$/, ''))).toString('hex')),
    ),
  );
  for (const port of without) {
    const family = port.hostIp.includes(':') ? 6 : 4;
    const any = port.hostIp === '0.0.0.0' || port.hostIp === '::';
    const wanted = Buffer.from(parseAddress(port.hostIp));
    const flows = trackedFlows(socket, family, NUMBERS[port.protocol]!, port.hostPort).filter((flow) => {
      if (!any) return flow.to.equals(wanted);
      const here = (family === 4 && flow.to[0] === 127) || local.has(flow.to.toString('hex'));
      return here || !flow.answeredBy.equals(flow.to);
    });
    if (flows.length > 0) socket.run(flows.map(forgetFlow));
  }
}
