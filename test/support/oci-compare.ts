import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { NSBOX_OCI, OciWorld } from './oci-bundle.js';
import type { OciPeer } from './oci-peers.js';
import type { Rows } from './oci-table/scenario.js';
import { SCENARIOS } from './oci-table.js';

const CONFORMANCE = path.resolve(import.meta.dirname, '../../../../docs/conformance.md');

/** The differences that docs/conformance.md lists for a runtime: rows that begin "| `scenario: behaviour` |" below its heading. */
function listedFor(name: string): string[] {
  const section = readFileSync(CONFORMANCE, 'utf8')
    .split(/^## /m)
    .find((s) => s.startsWith(`${name}\n`));
  assert.ok(section, `docs/conformance.md has no section "## ${name}"`);
  return section.split('\n').flatMap((line) => /^\| `([^`]+)` \|/.exec(line)?.[1] ?? []);
}

/**
 * Asks the same behaviours of nsbox-oci and of another runtime. A difference must be listed, with its reason, in
 * docs/conformance.md (the behaviour may end in *).
 * @param peer the runtime, or why there is none
 */
export function compareWith(name: string, peer: OciPeer | string): void {
  if (typeof peer === 'string') {
    test(`as ${name}`, { skip: peer }, () => undefined);
    return;
  }
  const listed = listedFor(name);
  const used = new Set<string>();
  const ours = new OciWorld(NSBOX_OCI, peer.aroundOurs);
  const theirs = new OciWorld(peer.runtime, peer.around);
  after(() => {
    ours.close();
    theirs.close();
  });
  let compared = 0;
  for (const scenario of SCENARIOS) {
    test(`${scenario.name}: as ${name}`, async () => {
      const [mine, reference] = [await scenario.rows(ours), await scenario.rows(theirs)];
      const differences: string[] = [];
      for (const key of new Set([...Object.keys(reference), ...Object.keys(mine)])) {
        compared++;
        const behaviour = `${scenario.name}: ${key}`;
        const [a, b] = [clean(mine, key, ours), clean(reference, key, theirs)];
        if (a === b) continue;
        const row = listed.find(
          (l) => l === behaviour || (l.endsWith('*') && behaviour.startsWith(l.slice(0, -1))),
        );
        if (row) used.add(row);
        else differences.push(`${behaviour}: nsbox-oci ${JSON.stringify(a)}, ${name} ${JSON.stringify(b)}`);
      }
      assert.deepEqual(differences, []);
    });
  }
  test(`at least 150 behaviours were compared with ${name}`, (t) => {
    t.diagnostic(`${compared} behaviours, ${used.size} listed differences`);
    assert.ok(compared >= 150, `${compared} behaviours`);
  });
}

function clean(rows: Rows, key: string, world: OciWorld): string | undefined {
  return rows[key]?.replaceAll(world.directory, 'WORLD');
}
