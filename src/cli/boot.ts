/**
 * The file behind bin/nsbox and bin/nsbox-oci. It loads the bundled command line (nsbox-cli.cjs, nsbox-oci-main.cjs, next
 * to it) with the byte code that V8 made of it the first time: compiling 900 kB at every start would cost as much as starting Node.
 *
 * The byte code lies beside the bundle, named by the bundle's size and time, and is written at the end of the first
 * `run` (`create`) that ends well. Where it can't be written, is missing, or belongs to another Node, everything works the same,
 * more slowly. V8 itself checks its version, its flags and the length of the source.
 */
import { readFileSync, renameSync, statSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { Script } from 'node:vm';

const directory = import.meta.dirname;
/** Both programs are this file, under two names. */
const name = path.basename(process.argv[1] ?? '') === 'nsbox-oci.cjs' ? 'nsbox-oci-main' : 'nsbox-cli';
const bundle = path.join(directory, `${name}.cjs`);
/** After one of these, most of what later commands need has been compiled. */
const telling = name === 'nsbox-cli' ? 'run' : 'create';

function readCache(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch {
    return undefined;
  }
}

function load(): void {
  const { size, mtimeMs } = statSync(bundle);
  const file = path.join(directory, `${name}-${size}-${Math.floor(mtimeMs)}.cache`);
  const cachedData = readCache(file);
  // The bundle is plain ASCII (esbuild escapes the rest): no decoding, one byte a character.
  const source = `(function (exports, require, module, __filename, __dirname) {\n${readFileSync(bundle, 'latin1')}\n})`;
  // The line put before is not counted, so that places in a stack are those of the bundle.
  const script = new Script(source, {
    filename: bundle,
    lineOffset: -1,
    ...(cachedData ? { cachedData } : {}),
  });
  const main = script.runInThisContext() as (...args: unknown[]) => void;
  if (!cachedData || script.cachedDataRejected) {
    process.on('exit', (code) => {
      if (code === 0 && process.argv.includes(telling)) writeCache(file, script.createCachedData());
    });
  }
  const module = { exports: {} };
  main(module.exports, require, module, bundle, directory);
}

function writeCache(file: string, data: Buffer): void {
  const temporary = `${file}.${process.pid}`;
  try {
    writeFileSync(temporary, data, { mode: 0o644 });
    renameSync(temporary, file);
  } catch {
    // a read-only installation: the next start is as slow as this one
  }
}

/** Nothing else of nsbox is needed for this. */
function version(): void {
  const text = readFileSync(path.join(directory, '../package.json'), 'utf8');
  writeSync(1, `nsbox version ${(JSON.parse(text) as { version: string }).version}\n`);
}

const [, , first, ...rest] = process.argv;
if (rest.length === 0 && (first === '--version' || first === '-v')) version();
else load();
