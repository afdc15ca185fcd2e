// Exit status 0 when node_modules holds what package-lock.json names. Compares contents, not times: a checkout
// gives every file a new time.
import { readFileSync } from 'node:fs';

/** Packages of a lock file, by folder; undefined where there is none. */
function packages(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).packages;
  } catch {
    return undefined;
  }
}

const wanted = packages('package-lock.json') ?? {};
const present = packages('node_modules/.package-lock.json');
const stale = Object.entries(wanted).some(
  ([folder, p]) => folder !== '' && !p.optional && present?.[folder]?.version !== p.version,
);
process.exit(present && !stale ? 0 : 1);
