import { InvalidError } from '../../base/index.js';
import { defineCommand } from '../command.js';
import { parseEnv } from '../request/lists.js';

export const command = defineCommand({
  name: 'exec',
  aliases: ['container exec'],
  usage: '[OPTIONS] CONTAINER COMMAND [ARG...]',
  summary: 'Execute a command in a running container',
  options: {
    detach: { type: 'bool', short: 'd', help: 'Detached mode: run command in the background' },
    'detach-keys': { type: 'string', help: 'Override the key sequence for detaching a container' },
    env: { type: 'list', short: 'e', help: 'Set environment variables' },
    'env-file': { type: 'list', help: 'Read in a file of environment variables' },
    interactive: { type: 'bool', short: 'i', help: 'Keep STDIN open even if not attached' },
    privileged: { type: 'bool', help: 'Give extended privileges to the command' },
    tty: { type: 'bool', short: 't', help: 'Allocate a pseudo-TTY' },
    user: { type: 'string', short: 'u', help: 'Username or UID (format: "<name|uid>[:<group|gid>]")' },
    workdir: { type: 'string', short: 'w', help: 'Working directory inside the container' },
  },
  args: { min: 2 },
  flagsFirst: true,
  async run({ flags, args }, io, ctx) {
    if (flags.interactive && flags.tty && !io.tty.stdin) {
      throw new InvalidError('the input device is not a TTY', { exitCode: 1, hint: 'leave -t out' });
    }
    const { terminalSize } = await import('../terminal.js');
    const { execInContainer, findContainer } = await import('../../engine/index.js');
    const launched = await execInContainer(ctx, findContainer(ctx, args[0]!), {
      command: args.slice(1),
      env: parseEnv(flags['env-file'], flags.env, ctx),
      workdir: flags.workdir || undefined,
      user: flags.user || undefined,
      privileged: flags.privileged,
      tty: flags.tty,
      terminalSize: flags.tty ? terminalSize(io) : undefined,
      // Without a terminal the program has nsbox's own fds: nothing is copied and nothing can be lost.
      stdio: flags.detach || flags.tty ? [-1, -1, -1] : [flags.interactive ? 0 : -1, 1, 2],
    });
    if (flags.detach) {
      launched.monitor.close();
      return 0;
    }
    if (launched.terminal !== undefined) {
      const { joinTerminal } = await import('../pty.js');
      await joinTerminal(io, launched.terminal, {
        input: flags.interactive,
        detachKeys: flags['detach-keys'],
        ended: launched.exit,
      });
    }
    const end = await launched.exit;
    if (end === undefined)
      throw new InvalidError('the command ended without a word: its monitor was killed', { exitCode: 137 });
    return end.signal > 0 ? 128 + end.signal : end.code;
  },
});
