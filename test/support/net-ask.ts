// Sends a datagram and prints the answer; nothing after a second. Arguments: address, port, the port to send from.
import { createSocket } from 'node:dgram';

const [address = '', port = '', from = '0'] = process.argv.slice(2);
const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4');
socket.on('message', (answer) => {
  process.stdout.write(String(answer));
  process.exit(0);
});
socket.on('error', () => process.exit(0));
socket.bind(Number(from), () => socket.send('x', Number(port), address));
setTimeout(() => process.exit(0), 1000);
