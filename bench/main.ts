/**
 * What does a container cost here? `npm run bench -- [--quick] [--out DIR] [SUITE…]`, or
 * `npm run bench -- compare A.json B.json`.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { compareResults } from './compare.js';
import { measure, type Row, type RowResult } from './harness.js';
import { makePlace } from './nsbox.js';
import { findPeers } from './peers.js';
import { markdown } from './report/markdown.js';
import { type BenchResult, machine, readResult } from './result.js';
import type { Setup } from './setup.js';
import { applicationRows } from './suites/application.js';
import { densityRows } from './suites/density.js';
import { gpuRows } from './suites/gpus.js';
import { imageRows } from './suites/image.js';
import { ociRows } from './suites/oci.js';
import { resourceRows } from './suites/resources.js';
import { startRows } from './suites/start.js';
import { cpuRows, diskRows, memoryRows, syscallRows } from './suites/work.js';
import { REPOSITORY, Timer } from './timer.js';

const SUITES: Record<string, (setup: Setup) => Promise<Row[]> | Row[]> = {
  start: startRows,
  cpu: cpuRows,
  memory: memoryRows,
  syscalls: syscallRows,
  disk: diskRows,
  application: applicationRows,
  density: densityRows,
  resources: resourceRows,
  gpus: gpuRows,
  oci: ociRows,
  image: imageRows,
};

const USAGE = `Usage: npm run bench -- [OPTIONS] [SUITE…]
       npm run bench -- compare BEFORE.json AFTER.json

Measures what containers cost on this machine: bare, in nsbox, and in other runtimes that are installed.
Suites: ${Object.keys(SUITES).join(', ')} (all by default)

Options:
  --quick            fewer rounds and settings; under five minutes
  --rounds N         rounds of each row (default: what the row needs)
  --out DIR          where result.json, report.md and report.html go (default: bench/out)
  --place DIR        filesystem to measure on (default: /var/tmp)
  --peers-root DIR   a root filesystem with newer peers, as from
                     npm run rootfs -- debian --suite trixie --include crun,runc,podman,bubblewrap --rootfs peers.tar
  --baseline-only    bare against bare: an A/A run, which must find nothing
`;

async function main(argv: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      quick: { type: 'boolean', default: false },
      rounds: { type: 'string' },
      out: { type: 'string' },
      place: { type: 'string' },
      'peers-root': { type: 'string' },
      'baseline-only': { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return 0;
  }
  if (positionals[0] === 'compare') {
    const [, before, after] = positionals;
    if (!before || !after)
      throw new Error('compare takes two files: npm run bench -- compare BEFORE.json AFTER.json');
    process.stdout.write(compareResults(readResult(before), readResult(after)));
    return 0;
  }
  const unknown = positionals.find((s) => !(s in SUITES));
  if (unknown) throw new Error(`no suite ${unknown}; there are ${Object.keys(SUITES).join(', ')}`);
  const rounds = values.rounds === undefined ? undefined : Number(values.rounds);
  if (rounds !== undefined && !(Number.isInteger(rounds) && rounds > 0))
    throw new Error('--rounds takes a positive number');
  if (process.geteuid?.() !== 0) throw new Error('the bench starts containers, and needs root');

  const out = path.resolve(values.out ?? path.join(REPOSITORY, 'bench/out'));
  mkdirSync(out, { recursive: true });
  const place = await makePlace(values.place);
  const timer = new Timer();
  const began = Date.now();
  const peers = findPeers(place.directory, place.rootfs, values['peers-root']);
  const setup: Setup = { place, peers, timer, quick: values.quick };
  const versions = Object.fromEntries(
    peers.peers.filter((p) => !p.name.includes('(')).map((p) => [p.name, p.version]),
  );
  const result: BenchResult = {
    schema: 1,
    started: new Date(began).toISOString(),
    seconds: 0,
    quick: values.quick,
    machine: machine(place.directory, REPOSITORY, versions),
    rows: [],
    skipped: [...peers.skipped],
  };
  try {
    for (const name of positionals.length > 0 ? positionals : Object.keys(SUITES)) {
      result.rows.push(...(await suite(name, setup, rounds, values['baseline-only'], result.skipped)));
    }
  } finally {
    timer.close();
    peers.close();
    await place.remove();
  }
  result.seconds = (Date.now() - began) / 1000;
  for (const row of result.rows)
    for (const s of row.sides)
      if (s.failed) result.skipped.push({ name: `${s.side}, ${row.title}`, why: s.failed });
  await write(out, result);
  process.stdout.write(
    `${markdown(result)}\nReports: ${path.join(out, 'report.html')}, report.md, result.json\n`,
  );
  return 0;
}

async function suite(
  name: string,
  setup: Setup,
  rounds: number | undefined,
  baselineOnly: boolean,
  skipped: BenchResult['skipped'],
): Promise<RowResult[]> {
  const results: RowResult[] = [];
  let rows: Row[];
  try {
    rows = (await SUITES[name]?.(setup)) ?? [];
  } catch (error) {
    skipped.push({ name: `suite ${name}`, why: (error as Error).message.split('\n')[0] ?? '' });
    process.stderr.write(`${name}: ${(error as Error).message}\n`);
    return results;
  }
  for (const row of rows) {
    process.stderr.write(`${name}: ${row.title}\n`);
    if (baselineOnly) {
      const base = row.sides.find((s) => s.name === row.base);
      if (base) row.sides = [base, { name: 'nsbox', run: () => base.run() }];
    }
    try {
      results.push(await measure(row, { ...(rounds ? { rounds } : {}), seed: results.length + 1 }));
    } finally {
      await row.close?.();
    }
  }
  return results;
}

/** Writes the three reports. */
async function write(out: string, result: BenchResult): Promise<void> {
  const { html } = await import('./report/html.js');
  writeFileSync(path.join(out, 'result.json'), `${JSON.stringify(result)}\n`);
  writeFileSync(path.join(out, 'report.md'), markdown(result));
  writeFileSync(path.join(out, 'report.html'), await html(result));
}

main(process.argv.slice(2)).then(
  (code) => process.exit(code),
  (error: Error) => {
    process.stderr.write(`bench: ${error.message}\n`);
    process.exit(1);
  },
);
