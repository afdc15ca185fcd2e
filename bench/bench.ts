/**
 * What does a container cost here? `npm run bench -- [--quick] [--out DIR] [SUITE…]` from the sources, `nsbox bench …`
 * without them; `bench compare A.json B.json`; `bench report RESULT.json`.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { compareResults } from './compare.js';
import { debianArchive } from './debian.js';
import { makePlace } from './nsbox.js';
import { findPeers } from './peers.js';
import { markdown } from './report/markdown.js';
import { tables } from './report/tables.js';
import { type BenchResult, machine, readResult } from './result.js';
import { runSuites, SUITES, type SuiteName } from './run.js';
import type { Setup } from './setup.js';
import { BUNDLED, REPOSITORY, Timer } from './timer.js';

const USAGE = `Usage: COMMAND [OPTIONS] [SUITE…]
       COMMAND compare BEFORE.json AFTER.json
       COMMAND report [--tables] RESULT.json

Measures what containers cost on this machine: bare, in nsbox, and in other runtimes that are installed.
Suites: ${Object.keys(SUITES).join(', ')} (all by default)

Options:
  --quick            fewer rounds and settings; under five minutes
  --rounds N         rounds of each row (default: what the row needs and its suite's time allows)
  --out DIR          where result.json, report.md and report.html go (default: DEFAULT_OUT)
  --place DIR        filesystem to measure on (default: /var/tmp)
  --peers-root DIR   a root filesystem with newer peers, as from
                     npm run rootfs -- debian --suite trixie --include crun,runc,podman,bubblewrap --rootfs peers.tar
  --no-peers         nsbox and the bare machine alone
  --drop-caches      cold starts drop the page cache of the whole machine, not only of the files that they read
  --baseline-only    bare against bare: an A/A run, which must find nothing

compare says what changed between two runs. report writes the Markdown report of a run again; with --tables its short
tables alone.
`;

/** Set in the process that measures, which has a network namespace of its own. */
const INNER = 'NSBOX_BENCH_INNER';

export async function bench(argv: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      out: { type: 'string' },
      place: { type: 'string' },
      'peers-root': { type: 'string' },
      'no-peers': { type: 'boolean', default: false },
      'drop-caches': { type: 'boolean', default: false },
      'baseline-only': { type: 'boolean', default: false },
      tables: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  const defaultOut = BUNDLED ? 'nsbox-bench' : path.join(REPOSITORY, 'bench/out');
  if (values.help) {
    process.stdout.write(
      USAGE.replaceAll('COMMAND', BUNDLED ? 'nsbox bench' : 'npm run bench --').replace(
        'DEFAULT_OUT',
        BUNDLED ? './nsbox-bench' : 'bench/out',
      ),
    );
    return 0;
  }
  if (positionals[0] === 'compare') {
    const [, before, after, more] = positionals;
    if (!before || !after || more) throw new Error('compare takes two files: compare BEFORE.json AFTER.json');
    process.stdout.write(compareResults(readResult(before), readResult(after)));
    return 0;
  }
  if (positionals[0] === 'report') {
    const [, file, more] = positionals;
    if (!file || more) throw new Error('report takes one file: report RESULT.json');
    const result = readResult(file);
    process.stdout.write(values.tables ? tables(result) : markdown(result));
    return 0;
  }
  const unknown = positionals.find((s) => !(s in SUITES));
  if (unknown) throw new Error(`no suite ${unknown}; there are ${Object.keys(SUITES).join(', ')}`);
  const suites = (positionals.length > 0 ? positionals : Object.keys(SUITES)) as SuiteName[];
  const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
  if (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0))
    throw new Error('--rounds takes a positive number');
  if (process.geteuid?.() !== 0) throw new Error('the bench starts containers, and needs root');

  if (!process.env[INNER]) return inOwnNetwork(argv, suites);
  const out = path.resolve(values.out ?? defaultOut);
  mkdirSync(out, { recursive: true });
  const result = await measureAll({
    suites,
    quick: values.quick,
    rounds,
    place: values.place,
    peersRoot: values['peers-root'],
    peers: !values['no-peers'] && !values['baseline-only'],
    dropCaches: values['drop-caches'],
    baselineOnly: values['baseline-only'],
  });
  await write(out, result);
  process.stdout.write(
    `${markdown(result)}\nReports: ${path.join(out, 'report.html')}, report.md, result.json\n`,
  );
  return 0;
}

/**
 * Measures in a network namespace of the bench's own: its bridges, ports and packet rules never meet the host's, and
 * the host's rules (those of a Docker daemon, say) aren't part of the figures. What has to be fetched is fetched before.
 */
async function inOwnNetwork(argv: readonly string[], suites: readonly SuiteName[]): Promise<number> {
  if (suites.some((s) => ['cpu', 'network', 'application'].includes(s))) {
    try {
      await debianArchive();
    } catch (error) {
      process.stderr.write(
        `bench: what needs programs of Debian will be left out: ${(error as Error).message}\n`,
      );
    }
  }
  const script = 'ip link set lo up || exit 125; exec "$@"';
  const self = [process.execPath, ...process.execArgv, process.argv[1] as string, ...argv];
  const { NODE_EXTRA_CA_CERTS: _, ...env } = process.env; // read by each start of Node, for nothing
  const child = spawn('unshare', ['--net', '--', 'sh', '-c', script, 'sh', ...self], {
    stdio: 'inherit',
    env: { ...env, [INNER]: '1' },
  });
  const forward = (signal: NodeJS.Signals): void => void child.kill(signal);
  process.on('SIGTERM', forward);
  process.on('SIGINT', () => {}); // a terminal tells the child itself
  return new Promise((resolve, reject) => {
    child.on('error', (e) => reject(new Error(`unshare of util-linux is needed: ${e.message}`)));
    child.on('exit', (code, signal) => {
      if (code === 125) reject(new Error('ip of iproute2 is needed: apt-get install iproute2'));
      else resolve(code ?? (signal === 'SIGINT' ? 130 : 143));
    });
  });
}

interface Wanted {
  suites: readonly SuiteName[];
  quick: boolean;
  rounds: number | undefined;
  place: string | undefined;
  peersRoot: string | undefined;
  peers: boolean;
  dropCaches: boolean;
  baselineOnly: boolean;
}

async function measureAll(wanted: Wanted): Promise<BenchResult> {
  const abort = new AbortController();
  const stop = (): void => abort.abort(new Error('interrupted'));
  process.on('SIGINT', stop);
  process.on('SIGTERM', stop);
  const began = Date.now();
  const place = await makePlace(wanted.place);
  const skipped: BenchResult['skipped'] = [];
  const timer = new Timer();
  const peers = wanted.peers
    ? await findPeers(place.directory, place.rootfs, { root: wanted.peersRoot })
    : { peers: [], engines: [], skipped: [], close: async () => {} };
  skipped.push(...peers.skipped);
  const setup: Setup = {
    place,
    peers,
    timer,
    quick: wanted.quick,
    dropCaches: wanted.dropCaches,
    skip: (name, why) => void skipped.push({ name, why }),
  };
  const versions = Object.fromEntries(
    peers.peers.filter((p) => !p.name.includes('(')).map((p) => [p.name, p.version]),
  );
  const result: BenchResult = {
    schema: 1,
    started: new Date(began).toISOString(),
    seconds: 0,
    quick: wanted.quick,
    machine: machine(place.directory, REPOSITORY, versions),
    suites: [],
    rows: [],
    skipped,
  };
  try {
    await runSuites(result, setup, { ...wanted, signal: abort.signal });
  } finally {
    timer.close();
    await peers.close();
    await place.remove();
    process.off('SIGINT', stop);
    process.off('SIGTERM', stop);
  }
  if (abort.signal.aborted) throw new Error('interrupted; what it had made is removed');
  result.seconds = (Date.now() - began) / 1000;
  for (const row of result.rows)
    for (const s of row.sides) if (s.failed) skipped.push({ name: `${s.side}, ${row.title}`, why: s.failed });
  return result;
}

/** Writes the three reports. */
async function write(out: string, result: BenchResult): Promise<void> {
  const { html } = await import('./report/html.js');
  writeFileSync(path.join(out, 'result.json'), `${JSON.stringify(result)}\n`);
  writeFileSync(path.join(out, 'report.md'), markdown(result));
  writeFileSync(path.join(out, 'report.html'), await html(result));
}
