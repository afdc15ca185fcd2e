// Builds, checks, and runs the rings of tests one after another: `node scripts/test.mjs [RING|FILE]…`.
// Quiet while all is well. The last line is `N passed, N failed, N skipped`.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { run } from 'node:test';

const root = path.resolve(import.meta.dirname, '..');
process.chdir(root);

/**
 * Rings in their order, with how many files run at once. What measures, or fills the machine, runs alone; pure
 * tests only want a processor each.
 */
const RINGS = { pure: 2, kernel: 2, clients: 1, vm: 1, web: 1 };
/** Milliseconds that one file may take. */
const LIMIT = 10 * 60 * 1000;

const named = process.argv.slice(2);
const total = { passed: 0, failed: 0, skipped: 0 };

function build() {
  const start = Date.now();
  const r = spawnSync(process.execPath, ['scripts/build.mjs'], { encoding: 'utf8', maxBuffer: 1 << 26 });
  if (r.status !== 0) console.log(`${r.stdout}${r.stderr}`.trim());
  console.log(`${r.status === 0 ? 'ok  ' : 'FAIL'} build (${seconds(start)})`);
  return r.status === 0;
}

function seconds(start) {
  return `${((Date.now() - start) / 1000).toFixed(1)} s`;
}

/** Test files of a ring, as compiled. */
function filesOf(ring) {
  const directory = path.join('test', ring);
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile() && e.name.endsWith('.test.ts'))
    .map((e) => path.join(root, 'build/js', e.parentPath, e.name.replace(/\.ts$/, '.js')))
    .sort();
}

/** The part of an assertion's report that a person wants. */
function explain(error) {
  const cause = error?.cause ?? error;
  const text = cause?.stack ?? cause?.message ?? String(cause);
  return text
    .split('\n')
    .filter((line) => !/\(?node:(internal|test)|^\s+at async Promise\.all/.test(line))
    .join('\n');
}

async function runRing(ring, files, concurrency) {
  const start = Date.now();
  const count = { passed: 0, failed: 0, skipped: 0 };
  const skips = [];
  const stderr = new Map();
  await new Promise((resolve, reject) => {
    const stream = run({ files, concurrency, timeout: LIMIT });
    // Suites, and the wrapper around each file, aren't tests of their own, unless a file fails outside of its tests.
    const isTest = (d) => d.details?.type !== 'suite' && !files.includes(path.resolve(d.name));
    stream.on('test:pass', (d) => {
      if (!isTest(d)) return;
      if (d.skip !== undefined && d.skip !== false) {
        count.skipped++;
        skips.push(`skip ${d.name}: ${d.skip === true || d.skip === '' ? 'no reason given' : d.skip}`);
      } else count.passed++;
    });
    stream.on('test:fail', (d) => {
      const error = d.details?.error;
      // A suite, or a file, that failed because of a test inside, which has been told of already.
      if (error?.failureType === 'subtestsFailed') return;
      if (!isTest(d) && error?.failureType === 'testCodeFailure' && error.exitCode === 1 && count.failed > 0)
        return;
      count.failed++;
      console.log(`FAIL ${path.relative(path.join(root, 'build/js'), d.file ?? d.name)}: ${d.name}`);
      console.log(explain(error).replace(/^/gm, '    '));
      const said = stderr.get(d.file ?? d.name);
      if (said && !isTest(d)) console.log(said.trim().replace(/^/gm, '    '));
    });
    stream.on('test:stderr', (d) =>
      stderr.set(d.file, ((stderr.get(d.file) ?? '') + d.message).slice(-4000)),
    );
    stream.on('end', resolve);
    stream.on('error', reject);
    stream.resume();
  });
  for (const skip of skips) console.log(skip);
  const line = `${count.passed} passed, ${count.failed} failed, ${count.skipped} skipped`;
  console.log(`${count.failed ? 'FAIL' : 'ok  '} ${ring}: ${line} (${seconds(start)})`);
  for (const key of Object.keys(total)) total[key] += count[key];
}

let ok = build();
const rings = named.filter((n) => n in RINGS);
const single = named.filter((n) => !(n in RINGS));
if (ok && named.length === 0) {
  const { lintChecks, runChecks } = await import('./lint.mjs');
  ok = await runChecks(lintChecks());
}
// What failed above is a failure of the whole, yet the tests say more about why: they run if anything was built.
if (!ok) total.failed++;
if (single.length > 0) {
  const files = single.map((f) =>
    path.resolve('build/js', path.relative(root, path.resolve(f)).replace(/\.ts$/, '.js')),
  );
  const absent = files.find((f) => !existsSync(f));
  if (absent) {
    console.log(
      `no ring and no test file: ${path.relative(path.join(root, 'build/js'), absent)} (rings: ${Object.keys(RINGS).join(', ')})`,
    );
    process.exit(2);
  }
  await runRing('named files', files, 1);
}
for (const ring of single.length > 0 && rings.length === 0
  ? []
  : rings.length > 0
    ? rings
    : Object.keys(RINGS)) {
  const files = filesOf(ring);
  if (files.length > 0) await runRing(ring, files, RINGS[ring]);
}
console.log(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(total.failed > 0 ? 1 : 0);
