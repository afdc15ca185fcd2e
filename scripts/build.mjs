// Builds everything: `node scripts/build.mjs [native|ts|js|bench|images|types]`. Safe to call from several processes at once.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';
import { bundleLazily, COMMON, MINIFIED, refuseAssignedExports } from './bundle.mjs';

const root = path.resolve(import.meta.dirname, '..');
process.chdir(root);
const what = process.argv[2] ?? 'all';

function run(command, args, options = {}) {
  const r = spawnSync(command, args, { stdio: 'inherit', ...options });
  if (r.status !== 0) process.exit(r.status ?? 1);
}

/** Every file below the given directories with one of the endings. */
function files(directories, endings) {
  const out = [];
  for (const d of directories) {
    if (!existsSync(d)) continue;
    for (const e of readdirSync(d, { recursive: true, withFileTypes: true })) {
      if (e.isFile() && endings.some((x) => e.name.endsWith(x))) out.push(path.join(e.parentPath, e.name));
    }
  }
  return out.sort();
}

function native() {
  const sources = [...files(['native'], ['.cc', '.h']), 'binding.gyp'];
  const list = createHash('sha256')
    .update(sources.join('\n'))
    .update(readFileSync('binding.gyp'))
    .digest('hex');
  const stamp = 'build/sources';
  const configured = existsSync(stamp) && readFileSync(stamp, 'utf8') === list;
  mkdirSync('build', { recursive: true });
  const gyp = path.join(root, 'node_modules/.bin/node-gyp');
  const env = { ...process.env };
  // Headers that came with this Node, so that nothing has to be fetched.
  const prefix = path.dirname(path.dirname(realpathSync(process.execPath)));
  if (existsSync(path.join(prefix, 'include/node/node_api.h'))) env.npm_config_nodedir ??= prefix;
  // One build at a time: flock(1) holds the lock for as long as the command runs.
  if (!configured) run('flock', ['build/lock', gyp, '--silent', 'configure'], { env });
  run('flock', ['build/lock', 'make', '-s', '-C', 'build', 'BUILDTYPE=Release', '-j2'], { env });
  writeFileSync(stamp, list);
}

async function ts() {
  // The library: ESM, dependencies left to the package manager.
  const esm = build({
    ...COMMON,
    entryPoints: { index: 'src/index.ts' },
    outdir: 'dist',
    bundle: true,
    format: 'esm',
    packages: 'external',
    splitting: true,
    chunkNames: 'lib/[name]-[hash]',
    define: { 'import.meta.dirname': 'import.meta.dirname' },
  });
  // Programs in CommonJS, whose loader starts sooner.
  const small = build({
    ...MINIFIED,
    entryPoints: {
      nsbox: 'src/cli/boot.ts',
      'nsbox-oci': 'src/cli/boot.ts',
      'nsbox-names': 'src/network/names/main.ts',
    },
    outdir: 'dist',
    outExtension: { '.js': '.cjs' },
    format: 'cjs',
    // import() becomes require(): Node's ESM loader need not be started for a built-in module.
    supported: { 'dynamic-import': false },
  });
  refuseAssignedExports(files(['src'], ['.ts']));
  // The command lines: sub-commands are evaluated when first asked for.
  const cli = bundleLazily('src/cli/main.ts', 'dist/nsbox-cli.cjs');
  const oci = bundleLazily('src/oci/main.ts', 'dist/nsbox-oci-main.cjs');
  await Promise.all([esm, small, cli, oci]);
  // Byte code of earlier bundles, see src/cli/boot.ts.
  for (const f of readdirSync('dist').filter((n) => n.includes('.cache'))) rmSync(path.join('dist', f));
}

/** Sources, tests and benches file by file into build/js, for the test runner. */
async function js() {
  const entries = files(['src', 'test', 'bench', 'rootfs-tools'], ['.ts']).filter(
    (f) => !f.endsWith('.d.ts'),
  );
  await build({
    entryPoints: entries,
    outdir: 'build/js',
    outbase: '.',
    format: 'esm',
    platform: 'node',
    target: 'node20',
    logLevel: 'warning',
    sourcemap: 'inline',
  });
  for (const f of files(['src', 'test', 'bench'], ['.json'])) cpSync(f, path.join('build/js', f));
  writeFileSync('build/js/package.json', '{"type":"module"}\n');
}

/** The bench for an installation without sources (`nsbox bench`): one file with all it needs, and its C programs. */
async function bench() {
  await build({
    entryPoints: { main: 'bench/main.ts', heap: 'bench/heap.ts' },
    outdir: 'dist/bench',
    outExtension: { '.js': '.mjs' },
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    logLevel: 'warning',
    legalComments: 'none',
    minifySyntax: true,
    minifyWhitespace: true,
    external: ['canvas'], // vega asks for it where it draws bitmaps
    banner: { js: "import{createRequire as __cr}from'node:module';const require=__cr(import.meta.url);" },
  });
  const compile = (source, name, flags) => {
    const out = `dist/bench/${name}`;
    if (existsSync(out) && statSync(out).mtimeMs > statSync(source).mtimeMs) return;
    run('gcc', ['-O2', '-s', ...flags, '-o', `${out}.${process.pid}`, source]);
    renameSync(`${out}.${process.pid}`, out);
  };
  for (const name of ['timer', 'floor', 'work', 'net', 'true'])
    compile(`bench/${name}.c`, name, ['-static', '-pthread']);
  compile('test/gpu/cuda-check.c', 'cuda-check', ['-ldl']);
  cpSync('bench/work.c', 'dist/bench/work.c'); // what the row of a compiler compiles
}

/** The images that come with nsbox: `hello`, and `busybox` where this machine has a static one. */
function images() {
  mkdirSync('dist/images', { recursive: true });
  const make = (kind, program, name) => {
    const out = `dist/images/${name}.tar`;
    if (existsSync(out) && statSync(out).mtimeMs > statSync(program).mtimeMs) return;
    const args = kind === 'static' ? ['static', program] : [kind];
    run(process.execPath, ['build/js/rootfs-tools/main.js', ...args, '--name', name, '--oci', out]);
  };
  make('static', 'build/Release/hello', 'hello');
  if (existsSync('/bin/busybox')) make('busybox', '/bin/busybox', 'busybox');
}

if (what === 'all' || what === 'native') native();
if (what === 'all' || what === 'ts') await Promise.all([ts(), js()]);
if (what === 'js') await js();
if (what === 'all' || what === 'bench') await bench();
if (what === 'all' || what === 'images') images();
if (what === 'all' || what === 'types') {
  run('node_modules/.bin/tsc', ['-p', 'tsconfig.types.json']);
}
