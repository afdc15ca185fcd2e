// An upstream DNS server of a test, on 198.51.100.1:53: knows the A record of example.org, is silent about
// silent.example, and notes what it was asked in the file named by the argument.
import { createSocket } from 'node:dgram';
import { appendFileSync } from 'node:fs';
import packet from 'dns-packet';

const socket = createSocket('udp4');
socket.on('message', (query, from) => {
  const q = packet.decode(query);
  const { name, type } = q.questions![0]!;
  appendFileSync(process.argv[2]!, `${name}\n`);
  if (name === 'silent.example') return;
  const known = name === 'example.org';
  const answers = known && type === 'A' ? [{ type: 'A' as const, name, ttl: 60, data: '203.0.113.7' }] : [];
  const flags = packet.RECURSION_AVAILABLE | (known ? 0 : 3);
  socket.send(
    packet.encode({ id: q.id!, type: 'response', flags, questions: q.questions!, answers }),
    from.port,
    from.address,
  );
});
socket.bind(53, '198.51.100.1', () => process.stdout.write('up\n'));
