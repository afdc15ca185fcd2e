/**
 * The file behind bin/nsbox and bin/nsbox-oci. It loads the bundled command line (nsbox-cli.cjs, nsbox-oci-main.cjs, next
 * to it) with the byte code that V8 made of it the first time: compiling at every start would cost as much as starting Node.
 *
 * The byte code lies beside the bundle, named by the bundle's size and time and by the command whose functions it holds: what
 * isn't in it need not be read. It is written at the end of the command's first run that ends well. Where it can't be
 * written, is missing, or belongs to another Node, everything works the same, more slowly. V8 itself checks its version,
 * its flags and the length of the source.
 */
import { readFileSync, renameSync, statSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { Script } from 'node:vm';

const directory = import.meta.dirname;
/** Both programs are this file, under two names. */
const name = path.basename(process.argv[1] ?? '') === 'nsbox-oci.cjs' ? 'nsbox-oci-main' : 'nsbox-cli';
const bundle = path.join(directory, `${name}.cjs`);
/** Commands with byte code of their own: those that scripts call often. The others take that of the first. */
const OWN =
  name === 'nsbox-cli'
    ? ['run', 'exec', 'ps', 'start', 'stop', 'rm', 'create', 'inspect', 'logs', 'images']
    : ['create', 'start', 'state', 'kill', 'delete', 'exec', 'run'];
/** A word that happens to be the value of a flag before the command costs time, nothing else. */
const telling = process.argv.slice(2, 12).find((word) => OWN.includes(word));
/** What stays with a container needs more than what leaves it alone, and the first one's byte code stays. */
const kind = process.argv.some((word) => /^(-[it]*d[it]*|--detach)$/.test(word)) ? '-detached' : '';

function readCache(file: string): Buffer | undefined {
  try {
    return readFileSync(file);
  } catch {
    return undefined;
  }
}

function load(): void {
  const { size, mtimeMs } = statSync(bundle);
  const file = path.join(
    directory,
    `${name}-${size}-${Math.floor(mtimeMs)}-${telling ?? OWN[0]}${kind}.cache`,
  );
  const cachedData = readCache(file);
  // The bundle is plain ASCII (scripts/bundle.mjs sees to it): no decoding, one byte a character.
  const source = `(function (exports, require, module, __filename, __dirname) {\n${readFileSync(bundle, 'latin1')}\n})`;
  // The line put before is not counted, so that places in a stack are those of the bundle.
  const script = new Script(source, {
    filename: bundle,
    lineOffset: -1,
    ...(cachedData ? { cachedData } : {}),
  });
  const main = script.runInThisContext() as (...args: unknown[]) => void;
  if (telling && (!cachedData || script.cachedDataRejected)) {
    process.on('exit', (code) => {
      if (code === 0) writeCache(file, script.createCachedData());
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
