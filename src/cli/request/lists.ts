import { readFileSync } from 'node:fs';
import path from 'node:path';
import { type Context, fromErrno, InvalidError } from '../../base/index.js';

/** `KEY=value` lists: environment, labels, annotations, sysctls, and the files that hold them. */

/**
 * Merges env files and `-e` flags, in this order. A name without `=` takes its value from nsbox's own environment
 * and is left out where it isn't set there.
 */
export function parseEnv(files: readonly string[], flags: readonly string[], ctx: Context): string[] {
  const out: string[] = [];
  const add = (entry: string): void => {
    const equals = entry.indexOf('=');
    if (equals === 0 || entry === '') {
      throw new InvalidError(`invalid environment variable: ${entry || '""'} (expected NAME=value or NAME)`);
    }
    if (equals > 0) out.push(entry);
    else if (ctx.env[entry] !== undefined) out.push(`${entry}=${ctx.env[entry]}`);
  };
  for (const file of files) for (const line of readKeyValueFile(file, ctx)) add(line);
  for (const flag of flags) add(flag);
  return out;
}

/** Merges label files and `--label` flags; a label without `=` is empty. */
export function parseLabels(
  files: readonly string[],
  flags: readonly string[],
  ctx: Context,
): Record<string, string> {
  const out: Record<string, string> = {};
  for (const entry of [...files.flatMap((file) => readKeyValueFile(file, ctx)), ...flags]) {
    const [key, value] = splitOnce(entry, '=');
    if (key === '') throw new InvalidError(`invalid label: ${JSON.stringify(entry)} (expected KEY=value)`);
    out[key] = value ?? '';
  }
  return out;
}

/** Entries that need their `=`. */
export function parseMap(what: string, flags: readonly string[]): Record<string, string> {
  const out: Record<string, string> = {};
  for (const entry of flags) {
    const [key, value] = splitOnce(entry, '=');
    if (key === '' || value === undefined) {
      throw new InvalidError(`invalid ${what}: ${JSON.stringify(entry)} (expected KEY=value)`);
    }
    out[key] = value;
  }
  return out;
}

export function splitOnce(text: string, separator: string): [string, string | undefined] {
  const at = text.indexOf(separator);
  return at < 0 ? [text, undefined] : [text.slice(0, at), text.slice(at + separator.length)];
}

/** Lines of an env or label file, without comments and blank lines. */
function readKeyValueFile(file: string, ctx: Context): string[] {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path.resolve(ctx.cwd, file));
  } catch (error) {
    throw fromErrno(`read ${file}`, error, { path: file });
  }
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes); // drops a byte order mark
  } catch {
    throw new InvalidError(`${file} is not UTF-8 text`, { path: file });
  }
  const out: string[] = [];
  text.split(/\r?\n/).forEach((raw, i) => {
    const line = raw.trimStart();
    if (line === '' || line.startsWith('#')) return;
    const where = `${file}, line ${i + 1}`;
    const [name] = splitOnce(line, '=');
    if (name === '') throw new InvalidError(`${where}: no variable name in ${JSON.stringify(line)}`);
    if (/\s/.test(name))
      throw new InvalidError(`${where}: variable ${JSON.stringify(name)} contains whitespace`);
    out.push(line);
  });
  return out;
}

/**
 * Splits one line of CSV (RFC 4180 quoting), as the values of --mount, --network and --gpus are written.
 * @throws InvalidError on an unclosed or misplaced quote
 */
export function splitCsv(text: string): string[] {
  const fields: string[] = [];
  let field = '';
  let at = 0;
  for (;;) {
    field = '';
    if (text[at] === '"') {
      at++;
      for (;;) {
        const quote = text.indexOf('"', at);
        if (quote < 0) throw new InvalidError(`${JSON.stringify(text)}: a quote is not closed`);
        field += text.slice(at, quote);
        at = quote + 1;
        if (text[at] !== '"') break;
        field += '"';
        at++;
      }
      if (at < text.length && text[at] !== ',') {
        throw new InvalidError(`${JSON.stringify(text)}: text after a closing quote`);
      }
    } else {
      const comma = text.indexOf(',', at);
      field = text.slice(at, comma < 0 ? undefined : comma);
      at = comma < 0 ? text.length : comma;
      if (field.includes('"'))
        throw new InvalidError(`${JSON.stringify(text)}: a quote inside an unquoted field`);
    }
    fields.push(field);
    if (at >= text.length) return fields;
    at++;
  }
}

/** The values of a CSV of `key=value` and bare keys. */
export function csvPairs(text: string): [string, string | undefined][] {
  return splitCsv(text).map((field) => {
    const [key, value] = splitOnce(field, '=');
    return [key.trim().toLowerCase(), value];
  });
}
