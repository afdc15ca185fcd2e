import { InvalidError } from '../../base/index.js';
import { defineCommand } from '../command.js';
import type { Io } from '../io.js';
import { registryFlags, registryOptions } from '../request/registry-flags.js';

export const command = defineCommand({
  name: 'login',
  usage: '[OPTIONS] [SERVER]',
  summary: 'Log in to a registry',
  options: {
    password: { type: 'string', short: 'p', help: 'Password or personal access token' },
    'password-stdin': { type: 'bool', help: 'Take the password from stdin' },
    'cert-dir': registryFlags['cert-dir'],
    'tls-verify': registryFlags['tls-verify'],
    username: { type: 'string', short: 'u', help: 'Username' },
  },
  args: { max: 1 },
  rootless: true,
  async run({ flags, args, given }, io, base) {
    const { ctx } = await registryOptions(base, { ...flags, creds: undefined }, given);
    const { openImageStore } = await import('../../image/index.js');
    if (flags['password-stdin'] && flags.username === undefined) {
      throw new InvalidError('--password-stdin needs --username');
    }
    if (flags.password !== undefined)
      io.err('WARNING! Using --password is insecure. Use --password-stdin.\n');
    const username = flags.username ?? (await ask(io, 'Username: ', true));
    const password = flags['password-stdin']
      ? (await readAll(io)).replace(/\r?\n$/, '')
      : (flags.password ?? (await ask(io, 'Password: ', false)));
    if (username === '' || password === '') throw new InvalidError('username and password must not be empty');
    await openImageStore(ctx).login(args[0], username, password);
    io.out('Login Succeeded\n');
    return 0;
  },
});

async function readAll(io: Io): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of io.stdin) pieces.push(piece as Buffer);
  return Buffer.concat(pieces).toString('utf8');
}

/** Asks on a terminal; the answer is shown or not. */
async function ask(io: Io, question: string, shown: boolean): Promise<string> {
  if (!io.tty.stdin) {
    throw new InvalidError('no terminal to ask on', { hint: 'give --username and --password-stdin' });
  }
  const { createInterface } = await import('node:readline');
  const { Writable } = await import('node:stream');
  io.err(question);
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: io.stdin, output: shown ? io.stderr : silent, terminal: true });
  try {
    for await (const line of lines) return line.trim();
    return '';
  } finally {
    if (!shown) io.err('\n');
    lines.close();
    io.stdin.pause();
  }
}
