import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type LogSubject, logConfig } from '../../src/engine/index.js';

const subject: LogSubject = {
  id: '0123456789ab'.padEnd(64, '0'),
  name: 'web',
  imageName: 'nginx:1',
  imageId: `sha256:${'f'.repeat(64)}`,
  labels: { tier: 'front', team: 'x' },
  env: ['MODE=a', 'MODE=b', 'SECRET=s'],
};
const json = (options: Record<string, string>) => logConfig({ driver: 'json-file', options }, subject);

test('logs are rotated unless told otherwise', () => {
  assert.deepEqual(json({}), { driver: 'json-file', maxSize: 10_000_000, maxFiles: 3, attributes: {} });
  assert.deepEqual(logConfig({ driver: 'local', options: {} }, subject), {
    driver: 'json-file',
    maxSize: 20_000_000,
    maxFiles: 5,
    attributes: {},
  });
  assert.deepEqual(logConfig({ driver: 'none', options: {} }, subject), { driver: 'none' });
});

test('sizes in powers of 1000', () => {
  const size = (text: string): number | undefined => {
    const config = json({ 'max-size': text });
    return config.driver === 'json-file' ? config.maxSize : undefined;
  };
  assert.deepEqual(['10m', '1.5k', '2G', '7', '5mb', '-1'].map(size), [10e6, 1500, 2e9, 7, 5e6, 0]);
  for (const bad of ['', 'ten', '10x', '0', '-2'])
    assert.throws(() => size(bad), /invalid log opt max-size=/);
  for (const bad of ['0', '-1', '1.5', 'x'])
    assert.throws(() => json({ 'max-file': bad }), /invalid log opt max-file=/);
  assert.throws(() => json({ mode: 'non-blocking' }), /invalid log opt mode=non-blocking/);
});

test('labels, environment and tag go into each line', () => {
  const attributes = (options: Record<string, string>) => {
    const config = json(options);
    return config.driver === 'json-file' ? config.attributes : undefined;
  };
  assert.deepEqual(attributes({ labels: 'tier,none', env: 'MODE' }), { tier: 'front', MODE: 'b' });
  assert.deepEqual(attributes({ 'labels-regex': '^te', 'env-regex': 'SEC' }), { team: 'x', SECRET: 's' });
  assert.deepEqual(attributes({ tag: '{{.Name}}/{{.ID}} {{ .ImageID }}' }), {
    tag: 'web/0123456789ab ffffffffffff',
  });
  assert.throws(() => attributes({ tag: '{{.Nope}}' }), /unknown field \{\{\.Nope\}\}/);
  assert.throws(() => attributes({ 'env-regex': '(' }), /invalid log opt env-regex=\(/);
});
