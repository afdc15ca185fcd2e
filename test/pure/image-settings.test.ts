import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withoutProxy } from '../../src/image/registry/settings.js';

test('NO_PROXY takes names, addresses, ranges and ports', async () => {
  const cases: [list: string, url: string, without: boolean][] = [
    ['', 'https://a.example/', false],
    ['*', 'https://a.example/', true],
    ['a.example', 'https://a.example/', true],
    ['a.example', 'https://b.a.example:5000/', true],
    ['a.example', 'https://ba.example/', false],
    ['.a.example, x', 'https://b.a.example/', true],
    ['*.a.example', 'https://b.a.example/', true],
    ['A.Example', 'https://a.example/', true],
    ['a.example:5000', 'https://a.example:5000/', true],
    ['a.example:5000', 'https://a.example/', false],
    ['a.example:443', 'https://a.example/', true],
    ['a.example:80', 'http://a.example/', true],
    ['10.0.0.5', 'https://10.0.0.5:5000/', true],
    ['10.0.0.0/8', 'https://10.1.2.3/', true],
    ['10.0.0.0/8', 'https://11.1.2.3/', false],
    ['10.0.0.0/99', 'https://10.1.2.3/', false],
    ['fd00::/8', 'https://[fd00::1]:5000/', true],
    ['[fd00::1]:5000', 'https://[fd00::1]:5000/', true],
    ['fd00::1', 'https://[fd00::1]/', true],
    ['10.0.0.0/8', 'https://[fd00::1]/', false],
  ];
  for (const [list, url, without] of cases) {
    assert.equal(await withoutProxy(list, new URL(url)), without, `${list} for ${url}`);
  }
});
