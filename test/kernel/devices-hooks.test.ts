import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, describe, it } from 'node:test';
import { run } from '../../src/index.js';
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

    it('prestart, createRuntime, poststart and poststop run on the host', async () => {
      await using rig = withHooks();
      const r = await rig.run(
        ['--rm', ...DEVICE],
        'sh',
        '-c',
        'echo $WITH; readlink /proc/self/ns/net; sleep 1',
      );
      assert.equal(r.code, 0, r.stderr);
      assert.equal(r.stderr, '');
      const [device, net] = r.stdout.split('\n');
      assert.equal(device, 'device');
      const lines = noted(rig);
      const order = lines.filter((l) => l.includes('{')).map((l) => l.split(' ')[0]);
      assert.deepEqual(order, all);
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
        ['creating', 'creating', 'running', 'stopped'],
      );
      assert.ok(!('pid' in states[3]!), 'the process has gone');
      for (const s of states) assert.ok(String(s['bundle']).includes(String(s['id'])), 'its bundle');
    });

    it('a detached container has them too, and again when it is started again', async () => {
      await using rig = withHooks();
      await rig.start(['--name', 'kept', ...DEVICE], 'sleep', '1000');
      await rig.ok('restart', '-t', '0', 'kept');
      const order = noted(rig)
        .filter((l) => l.includes('{'))
        .map((l) => l.split(' ')[0]);
      assert.deepEqual(order, [...all, ...all.slice(0, 3)]);
    });

    it("createContainer runs the host's program before the root is entered, startContainer the image's after", async () => {
      await using rig = withHooks();
      const sh = (hookName: string, script: string) => ({
        hookName,
        path: '/bin/sh',
        args: ['sh', '-c', script],
      });
      const hooks = [
        // The host has this file, the container hasn't.
        sh('createContainer', `test -e ${import.meta.filename}`),
        sh('startContainer', `test ! -e ${import.meta.filename} && cat >/tmp/state`),
      ];
      const devices = [{ name: 'one', containerEdits: { hooks } }];
      writeFileSync(
        '/run/cdi/acme.json',
        JSON.stringify({ cdiVersion: '0.6.0', kind: 'acme.com/thing', devices }),
      );
      const r = await rig.run(['--rm', ...DEVICE], 'cat', '/tmp/state');
      assert.equal(r.code, 0, r.stderr);
      assert.equal((JSON.parse(r.stdout) as { status: string }).status, 'created');
    });

    it('poststop runs once, after the last of the restarts; and where a removal kills', async () => {
      await using rig = withHooks();
      await rig.start(['--name', 'failing', '--restart', 'on-failure:2', ...DEVICE], 'false');
      // `wait` is for the end of one run.
      const status = () => rig.ok('inspect', '--format', '{{.State.Status}} {{.RestartCount}}', 'failing');
      for (let i = 0; i < 300 && (await status()) !== 'exited 2'; i++)
        await new Promise((resolve) => setTimeout(resolve, 50));
      const poststops = () => noted(rig).filter((l) => l.startsWith('poststop')).length;
      assert.equal(poststops(), 1);
      await rig.start(['--name', 'always', '--restart', 'always', ...DEVICE], 'sleep', '1000');
      await rig.ok('rm', '-f', 'always');
      assert.equal(poststops(), 2);
    });

    it('a poststop hook that fails is told, and the end goes on', async () => {
      await using rig = withHooks('poststop');
      const r = await rig.run(['--rm', ...DEVICE], 'true');
      assert.equal(r.code, 0);
      assert.match(r.stderr, /error running poststop hook \(\S+\/hook\.sh\): exit status 1\n$/);
      assert.equal(await rig.ok('ps', '-aq'), '');
      await rig.start(['--name', 'kept', ...DEVICE], 'true');
      await rig.ok('wait', 'kept');
      const error = await rig.ok('inspect', '--format', '{{.State.ExitCode}} {{.State.Error}}', 'kept');
      assert.match(error, /^0 hook \S+\/hook\.sh: exit status 1$/);
    });

    it('a run of the library has them all', async () => {
      await using rig = withHooks();
      const { root, state, rootfs } = rig.box;
      const devices = ['acme.com/thing=one'];
      const options = { root, state, rootfs, devices, network: 'none' };
      const r = await run({ ...options, command: ['sh', '-c', 'echo $WITH; sleep 1'] });
      assert.equal(r.stdout, 'device\n');
      // The run is over for its caller before the monitor has cleared away.
      for (let i = 0; i < 100 && noted(rig).filter((l) => l.includes('{')).length < 4; i++)
        await new Promise((resolve) => setTimeout(resolve, 100));
      const order = noted(rig)
        .filter((l) => l.includes('{'))
        .map((l) => l.split(' ')[0]);
      assert.deepEqual(order, all);
    });

    for (const flags of [[], ['--rm']])
      it(`poststop is run by the next command where everything was killed ${flags.join()}`, async () => {
        await using rig = withHooks();
        const id = await rig.start([...flags, ...DEVICE], 'sleep', '1000');
        const file = path.join(rig.box.state, 'containers', id, 'running.json');
        const { monitorPid } = JSON.parse(readFileSync(file, 'utf8')) as { monitorPid: number };
        process.kill(monitorPid, 'SIGKILL');
        await rig.ok('ps', '-q');
        await rig.ok('ps', '-q');
        const order = noted(rig)
          .filter((l) => l.includes('{'))
          .map((l) => l.split(' ')[0]);
        assert.deepEqual(order, all);
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
        const order = noted(rig)
          .filter((l) => l.includes('{'))
          .map((l) => l.split(' ')[0]);
        assert.deepEqual(
          order,
          [...all.slice(0, all.indexOf(name) + 1), 'poststop'],
          'poststop all the same',
        );
      });
  });
