import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { randomInt } from '../../base/index.js';

/** How long one upstream server may take, in milliseconds, before the next is asked. */
const PATIENCE = 1500;

/**
 * Asks upstream servers in order until one answers with anything but a failure of its own.
 * @param query the question as it came; only its id is changed
 * @returns the answer with the question's id; undefined where no server answered
 */
export async function forward(
  query: Buffer,
  servers: readonly string[],
  over: 'udp' | 'tcp',
): Promise<Buffer | undefined> {
  let refused: Buffer | undefined;
  for (const server of servers) {
    try {
      const answer = over === 'udp' ? await askUdp(query, server) : await askTcp(query, server);
      const code = answer[3]! & 0x0f;
      // SERVFAIL and REFUSED may be that server's own trouble.
      if (code !== 2 && code !== 5) return answer;
      refused ??= answer;
    } catch {
      // The next one.
    }
  }
  return refused;
}

/** From a port of its own and with an id of its own, so that an answer is hard to forge. */
function askUdp(query: Buffer, server: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(server.includes(':') ? 'udp6' : 'udp4');
    const id = randomInt(65536);
    const out = Buffer.from(query);
    out.writeUInt16BE(id, 0);
    const finish = (error: Error | undefined, answer?: Buffer) => {
      clearTimeout(timer);
      socket.close();
      if (answer) resolve(answer);
      else reject(error);
    };
    const timer = setTimeout(() => finish(new Error('no answer in time')), PATIENCE);
    socket.once('error', (e) => finish(e));
    socket.on('message', (answer) => {
      if (answer.length < 12 || answer.readUInt16BE(0) !== id) return;
      answer.writeUInt16BE(query.readUInt16BE(0), 0);
      finish(undefined, answer);
    });
    // Connected: answers from elsewhere don't arrive, and a closed port is told at once.
    socket.connect(53, server, () => socket.send(out));
  });
}

function askTcp(query: Buffer, server: string): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: server, port: 53 });
    socket.setTimeout(PATIENCE * 2, () => socket.destroy(new Error('no answer in time')));
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('closed before an answer')));
    const reader = new FrameReader((answer) => {
      resolve(answer);
      socket.destroy();
    });
    socket.on('data', (chunk: Buffer) => reader.push(chunk));
    socket.on('connect', () => socket.write(frame(query)));
  });
}

/** A message over TCP has its length in front. @see RFC 1035, 4.2.2 */
export function frame(message: Buffer): Buffer {
  const length = Buffer.alloc(2);
  length.writeUInt16BE(message.length);
  return Buffer.concat([length, message]);
}

export class FrameReader {
  readonly #take: (message: Buffer) => void;
  #pending: Buffer = Buffer.alloc(0);
  constructor(take: (message: Buffer) => void) {
    this.#take = take;
  }
  push(chunk: Buffer): void {
    this.#pending = Buffer.concat([this.#pending, chunk]);
    while (this.#pending.length >= 2) {
      const size = this.#pending.readUInt16BE(0);
      if (this.#pending.length < size + 2) return;
      this.#take(this.#pending.subarray(2, size + 2));
      this.#pending = this.#pending.subarray(size + 2);
    }
  }
}
