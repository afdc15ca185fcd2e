import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { applyRdt, checkRdt, prepareRdt, removeRdt, resctrlRoot, updateSchemata } from '../../src/oci/rdt.js';

// A directory tree stands for the filesystem: what is written where is what the kernel would get.
const root = mkdtempSync('/tmp/nsbox-test-resctrl-');
after(() => rmSync(root, { recursive: true, force: true }));
for (const d of ['info/L3', 'info/MB', 'mon_groups']) mkdirSync(path.join(root, d), { recursive: true });

test('the filesystem is found by its type, wherever it is mounted', () => {
  const line = '40 30 0:35 / /mnt/rdt rw,relatime shared:9 - resctrl resctrl rw';
  assert.equal(resctrlRoot(`29 30 0:25 / /proc rw - proc proc rw\n${line}\n`), '/mnt/rdt');
  assert.equal(resctrlRoot('29 30 0:25 / /resctrl rw - tmpfs resctrl rw\n'), undefined);
});

test('what the host lacks is refused in runc’s words', () => {
  assert.throws(() => checkRdt({ memBwSchema: 'MB:0=20' }, undefined), {
    message: 'intelRdt is specified in config, but Intel RDT is not enabled',
    code: 'UNSUPPORTED',
  });
  assert.throws(() => checkRdt({ closID: '../x' }, root), { message: 'invalid intelRdt.ClosID "../x"' });
  assert.throws(() => checkRdt({ enableMonitoring: true }, root), /CMT and MBM is not enabled/);
  assert.doesNotThrow(() => checkRdt({ l3CacheSchema: 'L3:0=f', memBwSchema: 'MB:0=20' }, root));
  assert.equal(prepareRdt({}, 'none', undefined), undefined);
});

test('a class of its own: schemata, tasks, monitoring; it goes with the container', () => {
  mkdirSync(path.join(root, 'info/L3_MON'), { recursive: true });
  const rdt = {
    l3CacheSchema: 'L3:0=f',
    memBwSchema: 'MB:0=20',
    schemata: ['L2:0=3'],
    enableMonitoring: true,
  };
  const group = prepareRdt(rdt, 'c1', root)!;
  assert.deepEqual(group, { root, path: `${root}/c1`, own: true, monitor: `${root}/c1/mon_groups/c1` });
  assert.ok(!existsSync(group.path), 'planned before it is made');
  mkdirSync(`${root}/c1/mon_groups`, { recursive: true }); // the kernel makes this one with the class
  applyRdt(rdt, group, 4711);
  assert.equal(readFileSync(`${root}/c1/schemata`, 'utf8'), 'L3:0=f\nMB:0=20\nL2:0=3\n');
  assert.equal(readFileSync(`${root}/c1/tasks`, 'utf8'), '4711');
  assert.equal(readFileSync(`${root}/c1/mon_groups/c1/tasks`, 'utf8'), '4711');
  assert.equal(updateSchemata({ memBwSchema: 'MB:0=50' }, group), true);
  assert.equal(readFileSync(`${root}/c1/schemata`, 'utf8'), 'MB:0=50\n');
  rmSync(group.path, { recursive: true });
  mkdirSync(group.path); // as the kernel has it: rmdir(2) takes the directory with its files
  removeRdt(group);
  assert.ok(!existsSync(group.path));
  removeRdt(group);
});

test('a class named by closID must be there without schemata, and stays', () => {
  const missing = prepareRdt({ closID: 'gold' }, 'c2', root)!;
  assert.throws(
    () => applyRdt({ closID: 'gold' }, missing, 1),
    /clos dir not accessible \(must be pre-created/,
  );
  mkdirSync(`${root}/gold`);
  const group = prepareRdt({ closID: 'gold' }, 'c2', root)!;
  applyRdt({ closID: 'gold' }, group, 42);
  assert.equal(readFileSync(`${root}/gold/tasks`, 'utf8'), '42');
  assert.ok(!existsSync(`${root}/gold/schemata`));
  removeRdt(group);
  assert.ok(existsSync(`${root}/gold`));
});

test('the kernel’s reason for a refusal is in the hint', () => {
  writeFileSync(path.join(root, 'info/last_cmd_status'), 'Mask out of range\n');
  mkdirSync(`${root}/bad/schemata`, { recursive: true }); // a file that can't be written
  const group = prepareRdt({ l3CacheSchema: 'L3:0=f', closID: 'bad' }, 'c3', root)!;
  assert.throws(() => applyRdt({ l3CacheSchema: 'L3:0=f', closID: 'bad' }, group, 1), {
    hint: 'last_cmd_status: Mask out of range',
  });
});
