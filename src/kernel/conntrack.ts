import { MessageBody, type Netlink, type NetlinkMessage, parseAttributes } from './netlink.js';

/** Connection tracking of this network namespace over ctnetlink. @see linux/netfilter/nfnetlink_conntrack.h */

const NFNL_SUBSYS_CTNETLINK = 1;
const IPCTNL_MSG_CT_GET = 1;
const IPCTNL_MSG_CT_DELETE = 2;
const CTA_TUPLE_ORIG = 1;
const CTA_TUPLE_REPLY = 2;
const CTA_ID = 12;
const CTA_FILTER = 25;
const CTA_TUPLE_IP = 1;
const CTA_TUPLE_PROTO = 2;
const CTA_IP_V4_SRC = 1;
const CTA_IP_V4_DST = 2;
const CTA_IP_V6_SRC = 3;
const CTA_IP_V6_DST = 4;
const CTA_PROTO_NUM = 1;
const CTA_PROTO_DST_PORT = 3;
const CTA_FILTER_ORIG_FLAGS = 1;
const CTA_FILTER_REPLY_FLAGS = 2;
const CTA_FILTER_F_CTA_PROTO_NUM = 1 << 3;
const CTA_FILTER_F_CTA_PROTO_DST_PORT = 1 << 5;
const AF_INET = 2;
const AF_INET6 = 10;

/** A flow as the kernel remembers it. Addresses are 4 or 16 bytes. */
export interface TrackedFlow {
  family: 4 | 6;
  /** Where its first packet was sent to. */
  to: Buffer;
  /** Who answers: another than `to` where the flow is translated. */
  answeredBy: Buffer;
  /** The attributes that name it to the kernel. */
  key: { original: Buffer; id: Buffer | undefined };
}

const nfgen = (family: number) => new MessageBody().u8(family).u8(0).u16(0);

/**
 * Flows whose first packet went to a port.
 * @param protocol number of the IP protocol: 17 is UDP
 * @throws NetlinkError; EPERM without CAP_NET_ADMIN
 */
export function trackedFlows(socket: Netlink, family: 4 | 6, protocol: number, port: number): TrackedFlow[] {
  const networkOrder = Buffer.alloc(2);
  networkOrder.writeUInt16BE(port);
  const body = nfgen(family === 4 ? AF_INET : AF_INET6);
  body.nested(CTA_TUPLE_ORIG, (tuple) =>
    tuple.nested(CTA_TUPLE_PROTO, (proto) =>
      proto.attrU8(CTA_PROTO_NUM, protocol).attrBytes(CTA_PROTO_DST_PORT, networkOrder),
    ),
  );
  // Since 5.8 the kernel itself leaves the others out; before, it ignores this.
  body.nested(CTA_FILTER, (filter) =>
    filter
      .attrU32(CTA_FILTER_ORIG_FLAGS, CTA_FILTER_F_CTA_PROTO_NUM | CTA_FILTER_F_CTA_PROTO_DST_PORT)
      .attrU32(CTA_FILTER_REPLY_FLAGS, 0),
  );
  const replies = socket.dump({
    type: (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_GET,
    flags: 0,
    body: body.done(),
    what: 'list tracked connections',
  });
  return replies.flatMap((reply) => {
    const attributes = parseAttributes(reply.body.subarray(4));
    const original = attributes.get(CTA_TUPLE_ORIG);
    const back = attributes.get(CTA_TUPLE_REPLY);
    if (!original || !back) return [];
    const proto = parseAttributes(parseAttributes(original).get(CTA_TUPLE_PROTO) ?? Buffer.alloc(0));
    if (proto.get(CTA_PROTO_NUM)?.[0] !== protocol) return [];
    if (!proto.get(CTA_PROTO_DST_PORT)?.equals(networkOrder)) return [];
    const ip = parseAttributes(parseAttributes(original).get(CTA_TUPLE_IP) ?? Buffer.alloc(0));
    const backIp = parseAttributes(parseAttributes(back).get(CTA_TUPLE_IP) ?? Buffer.alloc(0));
    const to = ip.get(family === 4 ? CTA_IP_V4_DST : CTA_IP_V6_DST);
    const answeredBy = backIp.get(family === 4 ? CTA_IP_V4_SRC : CTA_IP_V6_SRC);
    if (!to || !answeredBy) return [];
    return [{ family, to, answeredBy, key: { original, id: attributes.get(CTA_ID) } }];
  });
}

/** Makes the kernel forget a flow: its next packet is looked at as a first one. One that has gone is as good. */
export function forgetFlow(flow: TrackedFlow): NetlinkMessage {
  const body = nfgen(flow.family === 4 ? AF_INET : AF_INET6);
  body.nested(CTA_TUPLE_ORIG, (tuple) => tuple.bytes(flow.key.original));
  if (flow.key.id) body.attrBytes(CTA_ID, flow.key.id);
  return {
    type: (NFNL_SUBSYS_CTNETLINK << 8) | IPCTNL_MSG_CT_DELETE,
    flags: 0,
    body: body.done(),
    what: 'forget a tracked connection',
    tolerate: ['ENOENT'],
  };
}
