import packet from 'dns-packet';
import type { NetworkSettings } from '../types.js';
import { forward } from './forward.js';
import { NameTable, reverseAddress } from './table.js';

/** Seconds that an answer may be kept: containers come and go. */
const TTL = 5;
const NXDOMAIN = 3;
const SERVFAIL = 2;
const FORMERR = 1;

/** A datagram without EDNS may have this many bytes. @see RFC 1035, 4.2.1 */
const PLAIN_SIZE = 512;

export interface Question {
  query: Buffer;
  asker: NetworkSettings;
  over: 'udp' | 'tcp';
  /** Servers for names that aren't containers': asked for only then, since they are read from files. */
  upstream: () => readonly string[];
}

let turn = 0;

/**
 * The answer to one message: from the containers' names where one is asked about, else from upstream.
 * @returns undefined where nothing should be sent
 */
export async function answer(table: NameTable, q: Question): Promise<Buffer | undefined> {
  let asked: packet.DecodedPacket;
  try {
    asked = packet.decode(q.query);
  } catch {
    return q.query.length >= 12 ? failure(q.query, FORMERR) : undefined;
  }
  if (asked.type !== 'query') return undefined;
  const question = asked.questions?.[0];
  if (!question || asked.questions?.length !== 1) return failure(q.query, FORMERR);
  const name = question.name.replace(/\.$/, '');
  const own = local(table, q.asker, name, question.type);
  if (own) return encode(asked, own.answers, own.code, q);
  const upstream = await forward(q.query, q.upstream(), q.over);
  return upstream ?? failure(q.query, SERVFAIL);
}

/** What the containers' names say; undefined where it isn't theirs to say. */
function local(
  table: NameTable,
  asker: NetworkSettings,
  name: string,
  type: string,
): { answers: packet.Answer[]; code: number } | undefined {
  if (type === 'PTR') {
    const address = reverseAddress(name);
    const target = address && table.reverse(asker, address);
    return target ? { code: 0, answers: [{ type: 'PTR', name, ttl: TTL, data: target }] } : undefined;
  }
  const found = table.resolve(asker, withoutNetwork(asker, name)) ?? table.resolve(asker, name);
  if (!found) {
    // A name without dots is a container's or nobody's: asking the internet would only leak it.
    return NameTable.isLocal(name) && name !== '' ? { code: NXDOMAIN, answers: [] } : undefined;
  }
  const addresses = rotate(found.filter((a) => (type === 'AAAA' ? a.includes(':') : !a.includes(':'))));
  if (type !== 'A' && type !== 'AAAA') return { code: 0, answers: [] };
  // The name exists: another family is "no data", not "no such name", so that clients go on to ask for A.
  return { code: 0, answers: addresses.map((data) => ({ type, name, ttl: TTL, data })) };
}

/** `web.mynet` is `web` on the network mynet. */
function withoutNetwork(asker: NetworkSettings, name: string): string {
  const suffix = asker.endpoints.find((e) => name.toLowerCase().endsWith(`.${e.network.toLowerCase()}`));
  return suffix ? name.slice(0, -suffix.network.length - 1) : name;
}

/** Each answer begins with another address, so that callers spread. */
function rotate(addresses: readonly string[]): string[] {
  if (addresses.length < 2) return [...addresses];
  const by = turn++ % addresses.length;
  return [...addresses.slice(by), ...addresses.slice(0, by)];
}

function encode(asked: packet.DecodedPacket, answers: packet.Answer[], code: number, q: Question): Buffer {
  const opt = asked.additionals?.find((a): a is packet.OptAnswer => a.type === 'OPT');
  const build = (list: packet.Answer[], truncated: boolean) => {
    const message = {
      id: asked.id ?? 0,
      type: 'response' as const,
      flags:
        packet.AUTHORITATIVE_ANSWER |
        packet.RECURSION_AVAILABLE |
        ((asked.flags ?? 0) & packet.RECURSION_DESIRED) |
        (truncated ? packet.TRUNCATED_RESPONSE : 0) |
        code,
      questions: asked.questions ?? [],
      answers: list,
      additionals: opt
        ? [
            {
              type: 'OPT' as const,
              name: '.',
              udpPayloadSize: 1232,
              extendedRcode: 0,
              ednsVersion: 0,
              flags: 0,
              flag_do: false,
              options: [],
            },
          ]
        : [],
    };
    return packet.encode(message as packet.Packet);
  };
  const whole = build(answers, false);
  const limit = q.over === 'tcp' ? 65535 : Math.max(PLAIN_SIZE, opt?.udpPayloadSize ?? 0);
  return whole.length <= limit ? whole : build([], true);
}

/** The question's header and question, with an error code. */
function failure(query: Buffer, code: number): Buffer {
  const out = Buffer.from(query.subarray(0, 12));
  out[2] = 0x80 | (out[2]! & 0x79);
  out[3] = 0x80 | code;
  out.fill(0, 4, 12);
  return out;
}
