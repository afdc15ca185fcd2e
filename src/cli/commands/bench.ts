import path from 'node:path';
import { NsboxError, packageRoot } from '../../base/index.js';
import { defineCommand, type Flags } from '../command.js';

const options = {
  quick: { type: 'bool', help: 'Fewer rounds and settings; under five minutes' },
  rounds: { type: 'int', value: 'n', help: 'Rounds of each row (default: what its suite has time for)' },
  out: { type: 'string', value: 'dir', help: 'Where the reports go (default "./nsbox-bench")' },
  place: { type: 'string', value: 'dir', help: 'Filesystem to measure on (default "/var/tmp")' },
  'peers-root': { type: 'string', value: 'dir', help: 'A root filesystem with newer peers' },
  'no-peers': { type: 'bool', help: 'nsbox and the bare machine alone' },
  'drop-caches': { type: 'bool', help: 'Cold starts drop the page cache of the whole machine' },
  'baseline-only': { type: 'bool', help: 'Bare against bare, which must find nothing' },
  tables: { type: 'bool', help: 'With report: the short tables alone' },
} as const satisfies Flags;

export const command = defineCommand({
  name: 'bench',
  usage: '[OPTIONS] [SUITE...] | compare BEFORE.json AFTER.json | report RESULT.json',
  summary: 'Measure what containers cost on this machine',
  details:
    'Runs the same programs bare, in nsbox, and in the other runtimes that are installed, and writes result.json,\n' +
    'report.md and report.html. Suites: start, cpu, memory, syscalls, disk, network, application, density, resources,\n' +
    'gpus, oci, image; all by default. Those with real servers make a Debian tree first, which wants debootstrap\n' +
    'and a package mirror; they are left out without.',
  args: { min: 0 },
  options,
  // Two of its uses only read files; the bench itself asks for root where it measures.
  rootless: true,
  async run({ flags, args }, io, ctx) {
    const program = path.join(packageRoot(), 'dist/bench/main.mjs');
    const { existsSync } = await import('node:fs');
    if (!existsSync(program)) {
      throw new NsboxError('NOT_FOUND', 'the bench is not part of this installation', {
        path: program,
        hint: 'build it: node scripts/build.mjs bench',
      });
    }
    const given = Object.entries(flags as Record<string, unknown>).flatMap(([name, value]) =>
      value === undefined || value === false ? [] : value === true ? [`--${name}`] : [`--${name}=${value}`],
    );
    const { spawn } = await import('node:child_process');
    const child = spawn(process.execPath, [program, ...given, ...args], { stdio: 'inherit', cwd: ctx.cwd });
    // A terminal's Ctrl-C reaches the bench itself, which then removes what it made.
    const off = io.onSignal(['SIGINT', 'SIGTERM'], (signal) => {
      if (signal !== 'SIGINT' || !io.tty.stdin) child.kill(signal);
    });
    try {
      return await new Promise<number>((resolve, reject) => {
        child.on('error', reject);
        child.on('exit', (code, signal) => resolve(code ?? (signal === 'SIGINT' ? 130 : 143)));
      });
    } finally {
      off();
    }
  },
});
