import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { packageRoot } from './package-root.js';

/** A frame inside one of the bundles: its map beside it, the function's short name, line and column (from 1). */
const FRAME = /^(\s+at (?:async )?)(?:\S+ \(|\()?(\/[^():]+\.cjs):(\d+):(\d+)\)?$/;

/**
 * A stack with the lines of the sources in place of those of the bundle, whose names are shortened. For people who read
 * what --debug prints; as it was where there is no map.
 */
export function sourceStack(error: Error): string {
  const stack = error.stack ?? String(error);
  const maps = new Map<string, import('node:module').SourceMap | undefined>();
  const { SourceMap } = createRequire(path.join(packageRoot(), 'package.json'))(
    'node:module',
  ) as typeof import('node:module');
  const mapOf = (file: string): import('node:module').SourceMap | undefined => {
    if (!maps.has(file)) {
      try {
        maps.set(file, new SourceMap(JSON.parse(readFileSync(`${file}.map`, 'utf8'))));
      } catch {
        maps.set(file, undefined);
      }
    }
    return maps.get(file);
  };
  return stack
    .split('\n')
    .map((line) => {
      const [, at, file, row, column] = FRAME.exec(line) ?? [];
      if (!at || !file) return line;
      const entry = mapOf(file)?.findEntry(Number(row) - 1, Number(column) - 1);
      if (!entry || !('originalSource' in entry)) return line;
      const source = path.resolve(path.dirname(file), entry.originalSource);
      return `${at}${path.relative(packageRoot(), source)}:${entry.originalLine + 1}:${entry.originalColumn + 1}`;
    })
    .join('\n');
}
