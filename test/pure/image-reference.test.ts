import assert from 'node:assert/strict';
import { test } from 'node:test';
import { canonical, familiar, parseReference } from '../../src/image/index.js';

const hex = 'a'.repeat(64);

test('references are read as Docker reads them', () => {
  const cases: Record<string, string> = {
    nginx: 'docker.io/library/nginx:latest',
    'nginx:1.25': 'docker.io/library/nginx:1.25',
    'library/nginx': 'docker.io/library/nginx:latest',
    'user/app': 'docker.io/user/app:latest',
    'docker.io/nginx': 'docker.io/library/nginx:latest',
    'index.docker.io/user/app:x': 'docker.io/user/app:x',
    'localhost/app': 'localhost/app:latest',
    'localhost:5000/app:v1': 'localhost:5000/app:v1',
    '127.0.0.1:5000/a/b/c:v1': '127.0.0.1:5000/a/b/c:v1',
    '[::1]:5000/app': '[::1]:5000/app:latest',
    'ghcr.io/o/n__x-y.z:T_1': 'ghcr.io/o/n__x-y.z:T_1',
    [`nginx@sha256:${hex}`]: `docker.io/library/nginx@sha256:${hex}`,
    [`nginx:1@sha256:${hex}`]: `docker.io/library/nginx@sha256:${hex}`,
  };
  for (const [text, expected] of Object.entries(cases)) {
    assert.equal(canonical(parseReference(text)), expected, text);
  }
});

test('what is no reference is refused with its reason', () => {
  for (const [text, why] of [
    ['', /name is missing/],
    ['Nginx', /lowercase/],
    ['nginx:', /tag/],
    ['nginx:-x', /tag/],
    ['a//b', /no repository name/],
    ['-a', /no repository name/],
    ['a@sha256:12', /digest/],
    ['exa mple.com/x', /host|repository/],
    [`${'x'.repeat(300)}`, /longer/],
  ] as const) {
    assert.throws(
      () => parseReference(text),
      { code: 'INVALID_ARGUMENT', message: why },
      JSON.stringify(text),
    );
  }
});

test('familiar names leave the hub out', () => {
  assert.equal(familiar('docker.io/library/nginx:latest'), 'nginx:latest');
  assert.equal(familiar('docker.io/u/a:1'), 'u/a:1');
  assert.equal(familiar('quay.io/u/a:1'), 'quay.io/u/a:1');
});
