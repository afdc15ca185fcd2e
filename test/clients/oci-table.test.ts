import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { NSBOX_OCI, OciWorld } from '../support/oci-bundle.js';
import { type Rows, SCENARIOS } from '../support/oci-table.js';

/**
 * The same behaviours asked of nsbox-oci and of runc. A difference must be listed in docs/conformance.md, with its
 * reason: a row there that begins "| scenario: behaviour |" (the behaviour may end in *).
 */
const RUNC = ['/usr/sbin/runc', '/usr/bin/runc'].find((f) => existsSync(f));

const listed = readFileSync(path.resolve(import.meta.dirname, '../../../../docs/conformance.md'), 'utf8')
  .split('\n')
  .flatMap((line) => /^\| `([^`]+)` \|/.exec(line)?.[1] ?? []);

const isListed = (name: string) =>
  listed.some((l) => l === name || (l.endsWith('*') && name.startsWith(l.slice(0, -1))));

const ours = new OciWorld(NSBOX_OCI);
const theirs = RUNC ? new OciWorld(RUNC) : undefined;
after(() => {
  ours.close();
  theirs?.close();
});

let compared = 0;
const seen = new Set<string>();

for (const scenario of SCENARIOS) {
  test(`${scenario.name}: as runc`, { skip: theirs ? false : 'runc is not installed' }, async () => {
    const [mine, reference] = [await scenario.rows(ours), await scenario.rows(theirs!)];
    const differences: string[] = [];
    for (const key of new Set([...Object.keys(reference), ...Object.keys(mine)])) {
      compared++;
      const name = `${scenario.name}: ${key}`;
      const [a, b] = [clean(mine, key, ours), clean(reference, key, theirs!)];
      if (a === b) continue;
      if (isListed(name)) seen.add(name);
      else differences.push(`${name}: nsbox-oci ${JSON.stringify(a)}, runc ${JSON.stringify(b)}`);
    }
    assert.deepEqual(differences, []);
  });
}

test('at least 150 behaviours were compared', { skip: theirs ? false : 'runc is not installed' }, () => {
  assert.ok(compared >= 150, `${compared} behaviours`);
});

function clean(rows: Rows, key: string, world: OciWorld): string | undefined {
  return rows[key]?.replaceAll(world.directory, 'WORLD');
}
