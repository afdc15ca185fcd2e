// Style and static checks of both languages: `node scripts/lint.mjs [--write]`. --write formats what it can.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
process.chdir(root);
const write = process.argv.includes('--write');

/** C and C++ sources of ours. */
export function nativeFiles(
  directories = ['native', 'test/support', 'bench'],
  endings = ['.cc', '.c', '.h'],
) {
  return directories
    .filter((d) => existsSync(d))
    .flatMap((d) =>
      readdirSync(d, { recursive: true, withFileTypes: true })
        .filter((e) => e.isFile() && endings.includes(path.extname(e.name)))
        .map((e) => path.join(e.parentPath, e.name)),
    )
    .sort();
}

/** Runs a command; its output is kept back unless it fails. */
export function check(name, command, args) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.on('data', (c) => (output += c));
    child.stderr.on('data', (c) => (output += c));
    child.on('error', (e) =>
      resolve({ name, ok: false, output: `${command}: ${e.message} (scripts/setup.sh --test installs it)` }),
    );
    child.on('close', (code) => resolve({ name, ok: code === 0, output: code === 0 ? '' : output.trim() }));
  });
}

const bin = (name) => path.join('node_modules/.bin', name);

/** The checks of style and of suspicious code, each started when called. */
export function lintChecks({ fix = false } = {}) {
  mkdirSync('build/cppcheck', { recursive: true });
  return [
    () =>
      check('biome', bin('biome'), [
        'check',
        '--error-on-warnings',
        '--max-diagnostics=40',
        ...(fix ? ['--write'] : []),
      ]),
    () =>
      check('clang-format', 'clang-format', [...(fix ? ['-i'] : ['--dry-run', '-Werror']), ...nativeFiles()]),
    () =>
      check('cppcheck', 'cppcheck', [
        '--quiet',
        '--std=c++20',
        '--language=c++',
        '--enable=warning,performance,portability',
        '--inline-suppr',
        '--error-exitcode=1',
        '--cppcheck-build-dir=build/cppcheck',
        '--suppress=missingIncludeSystem',
        // Its parser doesn't know N-API's macros, and takes a mount option's "noexec" for a call.
        '--suppress=unknownMacro',
        // An Fd by value is how its ownership moves.
        '--suppress=passedByValue',
        // Members whose own constructors it doesn't see.
        '--suppress=uninitMemberVar:native/init/keeper.h',
        // The kernel writes through the address in the attribute.
        '--suppress=uninitvar:native/bpf/device_program.cc',
        '--template={file}:{line}: {severity}: {message} [{id}]',
        '-Inative',
        '-j2',
        ...nativeFiles(['native'], ['.cc']),
      ]),
    () => check('imports', process.execPath, ['scripts/check-imports.mjs']),
    () =>
      check('knip', bin('knip'), [
        '--no-progress',
        '--no-config-hints',
        '--include=files,dependencies,exports',
      ]),
    () => check('types', bin('tsc'), ['--noEmit', '--incremental', '--tsBuildInfoFile', 'build/tsc.info']),
  ];
}

/** Runs checks two at a time, prints one line for each, and answers whether all passed. */
export async function runChecks(checks) {
  const waiting = [...checks];
  let ok = true;
  const worker = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) {
      const start = Date.now();
      const result = await next();
      ok &&= result.ok;
      console.log(
        `${result.ok ? 'ok  ' : 'FAIL'} ${result.name} (${((Date.now() - start) / 1000).toFixed(1)} s)`,
      );
      if (!result.ok) console.log(result.output.replace(/^/gm, '    '));
    }
  };
  await Promise.all([worker(), worker()]);
  return ok;
}

if (process.argv[1] === import.meta.filename) {
  process.exit((await runChecks(lintChecks({ fix: write }))) ? 0 : 1);
}
