import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { CliRig } from '../support/cli.js';
import { noBusybox } from '../support/rootfs.js';

/**
 * `system prune` and its sisters beside a container that runs: it has a network, volumes, an image without a name and a
 * stopped neighbour, and keeps all that is its own.
 */
describe('prune', { skip: noBusybox }, () => {
  const rig = noBusybox ? undefined! : new CliRig('prune');
  const lines = async (...args: string[]) => (await rig.ok(...args)).split('\n').filter(Boolean);
  const create = (name: string, ...args: string[]) =>
    rig.ok('create', '--name', name, '--network', 'none', ...args);
  const network = (name: string, ...flags: string[]) =>
    rig.ok('network', 'create', '--driver', 'ipvlan', '--internal', ...flags, name);
  /** An image of its own: a label makes another config. */
  const image = async (name: string, label: string) => {
    await rig.ok('import', '-c', 'CMD ["sh"]', '-c', `LABEL ${label}`, rig.box.rootfs, name);
    return rig.ok('image', 'inspect', '--format', '{{.Id}}', name);
  };
  let used: string;
  const ids = () => lines('images', '-a', '-q', '--no-trunc', '--filter', 'label=of');

  before(async () => {
    used = await image('used', 'of=used');
    await network('mine');
    await rig.ok(
      ...['run', '-d', '--name', 'runs', '--network', 'none', '-v', 'kept:/kept', '-v', '/anonymous'],
      ...['used', 'sh', '-c', 'echo alive >/kept/file; sleep 1000'],
    );
    // Its image loses the name.
    await image('other', 'of=other');
    await rig.ok('tag', 'other', 'used');
  });
  after(() => rig?.[Symbol.asyncDispose]());

  it('refuses filters that it has not, before anything is removed', async () => {
    await create('stopped', 'other', 'true');
    for (const [args, why] of [
      [['--filter', 'colour=red'], /invalid filter 'colour'/],
      [['--filter', 'until=soon'], /invalid time 'soon'/],
      [['--filter', 'until'], /invalid filter 'until'/],
      [['--volumes', '--filter', 'until=1h'], /"until" filter is not supported with "--volumes"/],
    ] as const) {
      const r = await rig.nsbox(['system', 'prune', '-f', ...args]);
      assert.equal(r.code, 1, args.join(' '));
      assert.match(r.stderr, why);
      assert.equal(r.stdout, '');
    }
    assert.deepEqual((await lines('ps', '-a', '--format', '{{.Names}}')).sort(), ['runs', 'stopped']);
  });

  it('asks, and says what would go and by which filters', async () => {
    const r = await rig.nsbox(['system', 'prune', '-a', '--volumes', '--filter', 'label=x'], {
      input: 'n\n',
    });
    assert.equal(
      r.stdout,
      `WARNING! This will remove:
  - all stopped containers
  - all networks not used by at least one container
  - all anonymous volumes not used by at least one container
  - all images without at least one container associated to them

  Items to be pruned will be filtered with:
  - label=x

Are you sure you want to continue? [y/N] `,
    );
    assert.deepEqual((await lines('ps', '-a', '--format', '{{.Names}}')).sort(), ['runs', 'stopped']);
  });

  it('--filter until spares what is younger, label what has it not', async () => {
    assert.equal(await rig.ok('system', 'prune', '-af', '--filter', 'until=1h'), 'Total reclaimed space: 0B');
    await create('labelled', '--label', 'go=1', 'other', 'true');
    await network('labelled', '--label', 'go=1');
    const said = await rig.ok('system', 'prune', '-f', '--filter', 'label=go');
    assert.match(
      said,
      /^Deleted Containers:\n[0-9a-f]{64}\n\nDeleted Networks:\nlabelled\n\nTotal reclaimed space: /,
    );
    assert.deepEqual((await lines('ps', '-a', '--format', '{{.Names}}')).sort(), ['runs', 'stopped']);
    const all = await rig.ok('system', 'prune', '-f', '--filter', 'label!=go', '--filter', 'until=0s');
    assert.match(all, /^Deleted Containers:\n[0-9a-f]{64}\n\nDeleted Networks:\nmine\n/);
    assert.deepEqual(await lines('ps', '-a', '--format', '{{.Names}}'), ['runs']);
  });

  it('system df -v has columns and figures of each kind', async () => {
    await create('stopped', '-v', '/more', 'other', 'true');
    const text = await rig.ok('system', 'df', '-v');
    const parts = text.split('\n\n');
    assert.equal(parts[0], 'Images space usage:');
    const [head, ...images] = parts[1]!.split('\n');
    assert.match(head!, /^REPOSITORY +TAG +IMAGE ID +CREATED +SIZE +SHARED SIZE +UNIQUE SIZE +CONTAINERS$/);
    const row = (name: string) => images.find((l) => l.startsWith(name))!.split(/ {2,}/);
    // Both images have the one layer.
    const [, , id, , size, shared, unique, containers] = row('<none>');
    assert.deepEqual([id, shared, unique, containers], [used.slice(7, 19), size, '0B', '1']);
    assert.match(size!, /^[\d.]+MB$/);
    assert.equal(parts[2], 'Containers space usage:');
    assert.match(parts[3]!, /^CONTAINER ID +IMAGE +COMMAND +LOCAL VOLUMES +SIZE +CREATED +STATUS +NAMES\n/);
    assert.match(parts[3]!, /^[0-9a-f]{12} +used +"sh -c echo alive >\/…" +2 .* Up [\w ]+ +runs$/m);
    assert.match(parts[3]!, /^[0-9a-f]{12} +other +"true" +1 .* +Created +stopped$/m);
    assert.equal(parts[4], 'Local Volumes space usage:');
    assert.match(parts[5]!, /^VOLUME NAME +LINKS +SIZE\n/);
    assert.match(parts[5]!, /^kept +1 +\S+B$/m);
    const sums = await rig.ok('system', 'df', '--format', '{{.Type}} {{.TotalCount}} {{.Active}}');
    assert.match(sums, /^Images \d 2\nContainers 2 1\nLocal Volumes 3 3$/);
  });

  it('image prune takes images without a name, -a all that no container has; filters', async () => {
    const gone = await image('dangling', 'of=dangling');
    await image('dangling', 'of=again');
    assert.deepEqual((await ids()).length, 4);
    assert.equal(await rig.ok('image', 'prune', '-f', '--filter', 'until=1h'), 'Total reclaimed space: 0B');
    assert.equal(await rig.ok('image', 'prune', '-f', '--filter', 'label=of=x'), 'Total reclaimed space: 0B');
    assert.match(await rig.ok('image', 'prune', '-f'), new RegExp(`^Deleted Images:\ndeleted: ${gone}\n`));
    const kept = await ids();
    assert.ok(kept.includes(used), 'the image of a container stays, without a name');
    assert.equal(kept.length, 3);
    const unnamed = await rig.ok(
      'image',
      'prune',
      '-f',
      '--filter',
      'dangling=false',
      '--filter',
      'label=of',
    );
    assert.match(unnamed, /^Deleted Images:\nuntagged: dangling:latest\ndeleted: sha256:/);
    assert.equal((await ids()).length, 2);
  });

  it('system prune -a --volumes leaves the running container all that it has', async () => {
    await network('unused');
    await rig.ok('volume', 'create', 'named');
    const anonymous = await rig.ok('volume', 'create');
    const said = await rig.ok('system', 'prune', '-af', '--volumes');
    const parts = said.split('\n\n').map((part) => part.split('\n'));
    assert.deepEqual(
      parts.map(([first]) => first!.replace(/: [\d.]+.?B$/, '')),
      [
        'Deleted Containers:',
        'Deleted Networks:',
        'Deleted Volumes:',
        'Deleted Images:',
        'Total reclaimed space',
      ],
    );
    assert.equal(parts[0]!.length, 2, 'the stopped one');
    assert.deepEqual(parts[1]!.slice(1), ['unused']);
    // The one that was made here, and the one of the stopped container.
    assert.ok(parts[2]!.includes(anonymous));
    assert.equal(parts[2]!.length, 3);
    assert.ok(parts[3]!.includes('untagged: other:latest'));
    assert.deepEqual((await lines('volume', 'ls', '-q')).filter((n) => n.length < 64).sort(), [
      'kept',
      'named',
    ]);
    assert.equal((await lines('volume', 'ls', '-q')).length, 3, 'and its anonymous one');
    assert.deepEqual(await ids(), [used]);
    assert.equal(await rig.ok('exec', 'runs', 'cat', '/kept/file'), 'alive');
    assert.equal(await rig.ok('exec', 'runs', 'sh', '-c', 'ls -d /anonymous /bin/sh'), '/anonymous\n/bin/sh');
    // Once more there is nothing of that kind; `hello` is there again since images were listed.
    assert.match(
      await rig.ok('system', 'prune', '-af', '--volumes'),
      /^(Deleted Images:\nuntagged: hello:latest\ndeleted: sha256:\w+\n\n)?Total reclaimed space: \S+$/,
    );
  });

  it('image verify --repair leaves the layer of a running container, and mends it afterwards', async () => {
    const layers = path.join(rig.box.root, 'layers');
    const [layer] = readdirSync(layers);
    writeFileSync(path.join(layers, layer!, 'fs/evil'), 'x');
    const busy = await rig.nsbox(['image', 'verify', '--repair']);
    assert.equal(busy.code, 1);
    assert.match(
      busy.stdout,
      /\/evil is not in its archive; container [0-9a-f]{12} runs on it: stop it and repair again\n/,
    );
    assert.equal(await rig.ok('exec', 'runs', 'cat', '/kept/file'), 'alive');
    await rig.ok('stop', '-t', '0', 'runs');
    assert.match(await rig.ok('image', 'verify', '--repair'), /\/evil is not in its archive \(repaired\)/);
    assert.match(await rig.ok('image', 'verify'), /: all good$/);
    await rig.ok('start', 'runs');
    assert.equal((await rig.nsbox(['exec', 'runs', 'ls', '/evil'])).code, 1);
  });
});
