import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { after, before, test } from 'node:test';
import {
  findGroups,
  freeze,
  isFrozen,
  isPopulated,
  killAll,
  listGroups,
  removeGroups,
  thaw,
} from '../../src/cgroup/index.js';
import { EFFECTS } from '../support/limit-effects.js';
import { loadProgram } from '../support/load.js';
import { RAW_EFFECTS } from '../support/raw-limit-effects.js';
import { Rig } from '../support/rig.js';

let rig: Rig;
let before_: Record<string, string[]>;

/** Groups at the top of each hierarchy: ours come and go beside them. */
function topGroups(): Record<string, string[]> {
  const { unified, v1 } = rig.host.cgroup;
  const mounts = [...(unified ? [unified] : []), ...Object.values(v1)];
  return Object.fromEntries(
    mounts.map((m) => [
      m,
      readdirSync(m)
        .filter((n) => !n.startsWith('nsbox'))
        .sort(),
    ]),
  );
}

before(() => {
  rig = new Rig();
  before_ = topGroups();
});
after(async () => {
  const now = topGroups();
  await rig[Symbol.asyncDispose]();
  assert.deepEqual(now, before_, 'existing groups were touched');
  assert.deepEqual(listGroups(rig.host.cgroup, rig.parent), [], 'groups are left');
});

for (const effect of [...EFFECTS, ...RAW_EFFECTS]) {
  test(`${effect.name}`, async (t) => {
    const why = effect.skip?.(rig);
    if (why) t.skip(why);
    else await effect.run(rig);
  });
}

test('freeze, thaw, and a frozen group can be killed and removed', async () => {
  const running = rig.start({}, [loadProgram(), 'cpu', '60']);
  await freeze(running.groups);
  assert.ok(isFrozen(running.groups));
  await thaw(running.groups);
  assert.ok(!isFrozen(running.groups));
  await freeze(running.groups);
  killAll(running.groups);
  assert.equal((await running.ended).signal, 'SIGKILL');
  assert.ok(!isPopulated(running.groups));
  await removeGroups(running.groups);
  for (const group of running.plan.groups) assert.ok(!existsSync(group.path));
});

test('a group removed behind our back is no failure, a busy one names who is in it', async () => {
  const running = rig.start({}, [loadProgram(), 'cpu', '60']);
  await assert.rejects(
    removeGroups(running.groups, 100),
    (error: { code: string; errno: string; hint: string }) => {
      assert.equal(error.errno, 'EBUSY');
      assert.match(error.hint, new RegExp(`process ${running.child.pid}`));
      return true;
    },
  );
  killAll(running.groups);
  await running.ended;
  await removeGroups(running.groups);
  await removeGroups(running.groups);
  assert.deepEqual(findGroups(rig.host.cgroup, running.plan.path), { unified: null, v1: {} });
  killAll(findGroups(rig.host.cgroup, running.plan.path));
});
