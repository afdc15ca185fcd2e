import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { install, planInstall } from '../../src/oci/index.js';

const prefix = mkdtempSync('/tmp/nsbox-test-install-');
after(() => rmSync(prefix, { recursive: true, force: true }));
const binary = '/opt/nsbox/bin/nsbox-oci';
const text = (file: string) => readFileSync(path.join(prefix, file), 'utf8');

test('the configuration of all four engines, once', () => {
  const engines = ['containerd', 'crio', 'podman', 'docker'];
  mkdirSync(path.join(prefix, 'etc/docker'), { recursive: true });
  writeFileSync(
    path.join(prefix, 'etc/docker/daemon.json'),
    '{"debug":true,"runtimes":{"other":{"path":"/x"}}}',
  );
  install(planInstall({ binary, engines, prefix }));
  assert.deepEqual(JSON.parse(text('etc/docker/daemon.json')), {
    debug: true,
    runtimes: { other: { path: '/x' }, nsbox: { path: binary } },
  });
  assert.match(
    text('etc/containerd/config.toml'),
    /^version = 2\n\n\[plugins\."io\.containerd\.grpc\.v1\.cri"\.containerd\.runtimes\.nsbox\]\n/,
  );
  assert.match(text('etc/crio/crio.conf.d/10-nsbox.conf'), /runtime_path = "\/opt\/nsbox\/bin\/nsbox-oci"/);
  assert.match(
    text('etc/containers/containers.conf.d/10-nsbox.conf'),
    /nsbox-oci = \["\/opt\/nsbox\/bin\/nsbox-oci"\]/,
  );
  assert.deepEqual(
    planInstall({ binary, engines, prefix }).map((f) => f.content),
    [undefined, undefined, undefined, undefined],
  );
});

test("containerd's own lines stay, and version 3 has its own plugin name", () => {
  const file = path.join(prefix, 'etc/containerd/config.toml');
  writeFileSync(file, 'version = 3\n[grpc]\n  address = "/x"');
  install(planInstall({ binary, engines: ['containerd'], prefix }));
  assert.match(
    text('etc/containerd/config.toml'),
    /^version = 3\n\[grpc\]\n {2}address = "\/x"\n\n\[plugins\."io\.containerd\.cri\.v1\.runtime"/,
  );
});

test('a daemon.json that is not JSON is left alone, an unknown engine refused', () => {
  writeFileSync(path.join(prefix, 'etc/docker/daemon.json'), '{');
  assert.throws(() => planInstall({ binary, engines: ['docker'], prefix }), /daemon\.json is not valid JSON/);
  assert.throws(() => planInstall({ binary, engines: ['lxd'], prefix }), /unknown engine: lxd/);
  assert.deepEqual(
    planInstall({ binary, engines: [], prefix }),
    [],
    'no engine is installed below the prefix',
  );
});
