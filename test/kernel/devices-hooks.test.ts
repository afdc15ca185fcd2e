import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, describe, it } from 'node:test';
import { CliRig } from '../support/cli.js';
import { ownNetwork } from '../support/own-network.js';
import { noBusybox } from '../support/rootfs.js';

/** Hooks of CDI files: each at its moment, where the standard has it run, with the container's state on its stdin. */
const skip = noBusybox;
if (ownNetwork(import.meta.filename))
  describe('hooks of a CDI device', { skip }, () => {
    before(() => {
      assert.equal(spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run']).status, 0);
      mkdirSync('/run/cdi');
    });
    const DEVICE = ['--device', 'acme.com/thing=one'];
    /** A hook on the host's side that notes its state and the container's network namespace. */
    function hostHook(rig: CliRig, name: string): void {
      const file = path.join(rig.box.directory, 'hook.sh');
      writeFileSync(
        file,
        `#!/bin/sh\nstate=$(cat)\npid=$(echo "$state" | sed 's/.*"pid":\\([0-9]*\\).*/\\1/')\n` +
          `echo "$1 $state" >>${rig.box.directory}/hooks.log\nreadlink /proc/$pid/ns/net >>${rig.box.directory}/hooks.log\n` +
          `test "$1" != "${name}"\n`,
        { mode: 0o755 },
      );
    }
    const hook = (directory: string, hookName: string) => ({
      hookName,
      path: path.join(directory, 'hook.sh'),
      args: ['hook.sh', hookName],
      env: ['PATH=/usr/bin:/bin'],
      timeout: 20,
    });
    const all = ['prestart', 'createRuntime', 'poststart', 'poststop'];
    /** A rig on a host with one CDI file; the hook named fails. */
    const withHooks = (failing = ''): CliRig => {
      const rig = new CliRig('hooks');
      const hooks = all.map((name) => hook(rig.box.directory, name));
      const devices = [{ name: 'one', containerEdits: { env: ['WITH=device'], hooks } }];
      writeFileSync(
        '/run/cdi/acme.json',
        JSON.stringify({ cdiVersion: '0.6.0', kind: 'acme.com/thing', devices }),
      );
      hostHook(rig, failing);
      return rig;
    };
    const noted = (rig: CliRig) =>
      readFileSync(path.join(rig.box.directory, 'hooks.log'), 'utf8').split('\n');

    it('prestart, createRuntime and poststart run on the host; poststop is named', async () => {
      await using rig = withHooks();
      const r = await rig.run(
        ['--rm', ...DEVICE],
        'sh',
        '-c',
        'echo $WITH; readlink /proc/self/ns/net; sleep 1',
      );
      assert.equal(r.code, 0, r.stderr);
      assert.match(r.stderr, /the poststop hook of a CDI device isn't run here: \S+\/hook\.sh\n$/);
      const [device, net] = r.stdout.split('\n');
      assert.equal(device, 'device');
      const lines = noted(rig);
      const order = lines.filter((l) => l.includes('{')).map((l) => l.split(' ')[0]);
      assert.deepEqual(order, ['prestart', 'createRuntime', 'poststart']);
      assert.deepEqual(
        lines.filter((l) => l.startsWith('net:')),
        [net, net, net],
        'the container is there already, with its own network',
      );
      const states = lines
        .filter((l) => l.includes('{'))
        .map((l) => JSON.parse(l.slice(l.indexOf('{'))) as Record<string, unknown>);
      assert.deepEqual(
        states.map((s) => s['status']),
        ['creating', 'creating', 'running'],
      );
      for (const s of states) assert.ok(String(s['bundle']).includes(String(s['id'])), 'its bundle');
    });

    it('a detached container has them too, and again when it is started again', async () => {
      await using rig = withHooks();
      await rig.start(['--name', 'kept', ...DEVICE], 'sleep', '1000');
      await rig.ok('restart', '-t', '0', 'kept');
      const order = noted(rig)
        .filter((l) => l.includes('{'))
        .map((l) => l.split(' ')[0]);
      const once = ['prestart', 'createRuntime', 'poststart'];
      assert.deepEqual(order, [...once, ...once]);
    });

    for (const name of ['createRuntime', 'poststart'])
      it(`a ${name} hook that fails is named, and nothing goes on running`, async () => {
        await using rig = withHooks(name);
        const r = await rig.run(['--rm', '-d', ...DEVICE], 'sleep', '1000');
        assert.equal(r.code, 125, r.stderr);
        assert.match(
          r.stderr,
          new RegExp(`error running ${name} hook #0 \\(\\S+/hook\\.sh\\): exit status 1`),
        );
        for (let i = 0; i < 100 && (await rig.ok('ps', '-q')) !== ''; i++)
          await new Promise((resolve) => setTimeout(resolve, 100));
        assert.equal(await rig.ok('ps', '-q'), '');
      });
  });
