import assert from 'node:assert/strict';
import { test } from 'node:test';
import { applyChanges } from '../../src/image/changes.js';
import { layerPath } from '../../src/image/layer/paths.js';
import { choosePlatform, wantedPlatform } from '../../src/image/platform.js';

test('--change takes Dockerfile instructions in both forms', () => {
  const out = applyChanges({ Env: ['A=1', 'B=2'], WorkingDir: '/srv' }, [
    'CMD ["sh", "-c", "echo hi"]',
    'entrypoint echo hello',
    'ENV A=3 C="two words"',
    'ENV OLD the rest of it',
    'EXPOSE 80 53/udp 9000-9001',
    'LABEL a=b "c d"=e',
    'VOLUME ["/data"]',
    'WORKDIR sub',
    'USER 7:7',
    'STOPSIGNAL SIGINT',
  ]);
  assert.deepEqual(out, {
    Env: ['B=2', 'A=3', 'C=two words', 'OLD=the rest of it'],
    WorkingDir: '/srv/sub',
    Cmd: ['sh', '-c', 'echo hi'],
    Entrypoint: ['/bin/sh', '-c', 'echo hello'],
    ExposedPorts: { '80/tcp': {}, '53/udp': {}, '9000/tcp': {}, '9001/tcp': {} },
    Labels: { a: 'b', 'c d': 'e' },
    Volumes: { '/data': {} },
    User: '7:7',
    StopSignal: 'SIGINT',
  });
  assert.throws(() => applyChanges({}, ['FROM x']), /is not one of/);
  assert.throws(() => applyChanges({}, ['EXPOSE x']), /no port/);
});

test('--change takes a HEALTHCHECK', () => {
  const check = (text: string) => applyChanges({}, [`HEALTHCHECK ${text}`]).Healthcheck;
  assert.deepEqual(check('CMD curl -f http://localhost/ || exit 1'), {
    Test: ['CMD-SHELL', 'curl -f http://localhost/ || exit 1'],
  });
  assert.deepEqual(
    check(
      '--interval=1m30s --timeout=3s --start-period=5s --start-interval=100ms --retries=2 cmd ["/up", "-q"]',
    ),
    {
      Test: ['CMD', '/up', '-q'],
      Interval: 90e9,
      Timeout: 3e9,
      StartPeriod: 5e9,
      StartInterval: 1e8,
      Retries: 2,
    },
  );
  assert.deepEqual(check('none'), { Test: ['NONE'] });
  const refused: [string, RegExp][] = [
    ['true', /unknown type "true" \(try CMD\)/],
    ['CMD', /missing command after CMD/],
    ['NONE x', /NONE takes no arguments/],
    ['--interval=1us CMD x', /--interval cannot be less than 1ms/],
    ['--retries=-1 CMD x', /--retries must be at least 0/],
    ['--often=1s CMD x', /unknown flag: --often/],
    ['--timeout=soon CMD x', /invalid duration/],
  ];
  for (const [text, message] of refused) assert.throws(() => check(text), message, text);
});

test('paths of a layer stay below its root', () => {
  const at = (text: string) => layerPath(Buffer.from(text)).key;
  assert.equal(at('./usr//bin/'), 'usr/bin');
  assert.equal(at('/etc/passwd'), 'etc/passwd');
  assert.equal(at('a/../b'), 'b');
  assert.equal(at('./'), '');
  assert.equal(at('.hidden/..x/...'), '.hidden/..x/...');
  for (const bad of ['..', '../x', 'a/../../x', '/../x', './../x']) {
    assert.throws(() => at(bad), { code: 'IMAGE_CORRUPT' }, bad);
  }
});

test('an index gives the manifest of the platform that was asked for', () => {
  const of = (platform: object | undefined, digest: string) =>
    ({ mediaType: 'm', digest, size: 1, platform }) as never;
  const list = [
    of({ os: 'linux', architecture: 'arm', variant: 'v6' }, 'v6'),
    of({ os: 'linux', architecture: 'arm', variant: 'v7' }, 'v7'),
    of({ os: 'linux', architecture: 'amd64' }, 'amd64'),
    of({ os: 'unknown', architecture: 'unknown' }, 'attestation'),
  ];
  assert.equal(choosePlatform(list, wantedPlatform('linux/amd64'), 'x').digest, 'amd64');
  assert.equal(choosePlatform(list, wantedPlatform('linux/arm/v7'), 'x').digest, 'v7');
  assert.equal(choosePlatform(list, wantedPlatform('linux/x86_64'), 'x').digest, 'amd64');
  assert.throws(() => choosePlatform(list, wantedPlatform('linux/s390x'), 'x'), {
    code: 'UNSUPPORTED',
    hint: /linux\/arm\/v6, linux\/arm\/v7, linux\/amd64$/,
  });
});
