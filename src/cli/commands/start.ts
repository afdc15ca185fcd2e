import { InvalidError } from '../../base/index.js';
import type { Attachment } from '../../engine/index.js';
import { defineCommand } from '../command.js';
import { forEach } from '../each.js';
import { attachStreams, stayWith } from '../foreground.js';
import { terminalSize } from '../terminal.js';

export const command = defineCommand({
  name: 'start',
  aliases: ['container start'],
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  summary: 'Start one or more stopped containers',
  options: {
    attach: { type: 'bool', short: 'a', help: 'Attach STDOUT/STDERR and forward signals' },
    'detach-keys': { type: 'string', help: 'Override the key sequence for detaching a container' },
    interactive: { type: 'bool', short: 'i', help: "Attach container's STDIN" },
    'sig-proxy': { type: 'bool', help: 'Proxy received signals to the process', default: true },
  },
  args: { min: 1 },
  async run({ flags, args }, io, ctx) {
    const engine = await import('../../engine/index.js');
    await engine.recover(ctx);
    if (!flags.attach && !flags.interactive) {
      return forEach(io, args, async (name) => {
        const launched = await engine.startContainer(ctx, engine.findContainer(ctx, name));
        launched?.monitor.close();
      });
    }
    if (args.length > 1)
      throw new InvalidError('you cannot start and attach multiple containers at once', { exitCode: 1 });
    const record = engine.findContainer(ctx, args[0]!);
    const { tty } = record.request;
    const stdin = flags.interactive && record.request.interactive;
    if (tty && stdin && !io.tty.stdin)
      throw new InvalidError('the input device is not a TTY', { exitCode: 1 });
    const streams = { stdin, stdout: true, stderr: true };
    const options = {
      ...attachStreams(io, streams, tty),
      tty,
      size: tty ? terminalSize(io) : undefined,
      detachKeys: flags['detach-keys'],
    };
    let attachment: Attachment | undefined;
    const launched = await engine.startContainer(ctx, record, {
      attach: async (socket) => {
        attachment = await engine.attachSocket(socket, options);
      },
      terminalSize: options.size,
    });
    attachment ??= await engine.attachContainer(ctx, record, options); // it ran already
    const code = await stayWith(io, attachment, {
      tty,
      stdin,
      sigProxy: flags['sig-proxy'],
      name: record.name,
    });
    launched?.monitor.close();
    return code;
  },
});
