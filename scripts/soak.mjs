// What finds more the longer it runs: `npm run soak -- [--minutes N] [NAME…]`. Each soak is a test file that `npm test`
// runs in its short form; test/support/soak.ts tells it how long it has. Without names: all, one after another.
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { parseArgs } from 'node:util';

const root = path.resolve(import.meta.dirname, '..');
process.chdir(root);

/** NAME: [test file, what it does]. A new soak is a line here and `bySoak` in its test. */
const SOAKS = {
  'image-fuzz': ['test/kernel/image-fuzz.test.ts', 'damaged layers, manifests and archives'],
  'image-writers': ['test/kernel/image-writers.test.ts', 'random trees through every tar writer'],
  'image-kill': ['test/clients/image-kill.test.ts', 'kill -9 during pull, load, unpack and prune'],
  'container-kill': ['test/kernel/crash-safety.test.ts', 'kill -9 during run, exec, stop and rm'],
};

const minutesOf = (text) => {
  const n = Number(text);
  if (!(n > 0)) fail(`--minutes takes a number above 0, not ${text}`);
  return n;
};

function fail(message) {
  console.error(`soak: ${message}`);
  process.exit(2);
}

function options() {
  try {
    return parseArgs({
      options: { minutes: { type: 'string', default: '10' }, list: { type: 'boolean' } },
      allowPositionals: true,
    });
  } catch (error) {
    return fail(error.message);
  }
}

const { values, positionals } = options();
if (values.list) {
  for (const [name, [, what]] of Object.entries(SOAKS)) console.log(`${name.padEnd(16)} ${what}`);
  process.exit(0);
}
const minutes = minutesOf(values.minutes);
const unknown = positionals.find((name) => !(name in SOAKS));
if (unknown) fail(`no soak named ${unknown}; there are ${Object.keys(SOAKS).join(', ')}`);

const { NODE_EXTRA_CA_CERTS: _, ...env } = process.env;
const built = spawnSync(process.execPath, ['scripts/build.mjs'], {
  stdio: ['ignore', 'ignore', 'inherit'],
  env,
});
if (built.status !== 0) process.exit(1);
const failed = [];
for (const name of positionals.length > 0 ? positionals : Object.keys(SOAKS)) {
  const [file] = SOAKS[name];
  const start = Date.now();
  console.log(`--- ${name}: ${minutes} min`);
  const r = spawnSync(
    process.execPath,
    ['--test', '--test-reporter=spec', path.join('build/js', file.replace(/\.ts$/, '.js'))],
    { stdio: ['ignore', 'inherit', 'inherit'], env: { ...env, NSBOX_SOAK_MINUTES: String(minutes) } },
  );
  const took = `${((Date.now() - start) / 60_000).toFixed(1)} min`;
  console.log(`${r.status === 0 ? 'ok  ' : 'FAIL'} ${name} (${took})`);
  if (r.status !== 0) failed.push(name);
}
console.log(failed.length === 0 ? 'soak: all well' : `soak: failed: ${failed.join(', ')}`);
process.exit(failed.length === 0 ? 0 : 1);
