// A program of a container or host in network tests: answers each connection and datagram with the address it came
// from. Arguments: ports.
import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

const ports = process.argv.slice(2).map(Number);
let left = ports.length * 2;
const up = () => {
  if (--left === 0) process.stdout.write('up\n');
};
for (const port of ports) {
  createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end(`${port} ${socket.remoteAddress}\n`);
  }).listen(port, '::', up);
  const udp = createSocket('udp6');
  udp.on('message', (_data, from) => udp.send(`${port} ${from.address}\n`, from.port, from.address));
  udp.bind(port, '::', up);
}
