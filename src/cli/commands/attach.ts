import { InvalidError } from '../../base/index.js';
import { defineCommand } from '../command.js';
import { attachStreams, stayWith } from '../foreground.js';
import { terminalSize } from '../terminal.js';

export const command = defineCommand({
  name: 'attach',
  aliases: ['container attach'],
  usage: '[OPTIONS] CONTAINER',
  summary: 'Attach local standard input, output, and error streams to a running container',
  options: {
    'detach-keys': { type: 'string', help: 'Override the key sequence for detaching a container' },
    'no-stdin': { type: 'bool', help: 'Do not attach STDIN' },
    'sig-proxy': { type: 'bool', help: 'Proxy all received signals to the process', default: true },
  },
  args: { min: 1, max: 1 },
  async run({ flags, args }, io, ctx) {
    const { attachContainer, findContainer, stateOf } = await import('../../engine/index.js');
    const record = findContainer(ctx, args[0]!);
    if (stateOf(ctx, record).status === 'paused') {
      throw new InvalidError('You cannot attach to a paused container, unpause it first', { exitCode: 1 });
    }
    const { tty } = record.request;
    const stdin = !flags['no-stdin'] && record.request.interactive;
    if (tty && stdin && !io.tty.stdin)
      throw new InvalidError('the input device is not a TTY', { exitCode: 1 });
    const attachment = await attachContainer(ctx, record, {
      ...attachStreams(io, { stdin, stdout: true, stderr: true }, tty),
      size: tty ? terminalSize(io) : undefined,
      detachKeys: flags['detach-keys'],
    });
    return stayWith(io, attachment, { tty, stdin, sigProxy: flags['sig-proxy'], name: record.name });
  },
});
