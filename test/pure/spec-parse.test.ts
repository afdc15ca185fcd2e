import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  parseFeatures,
  parseImageConfig,
  parseJson,
  parseSpec,
  parseState,
  stringifyJson,
} from '../../src/spec/index.js';
import { OCI_DOCUMENTS } from '../support/oci-documents.js';
import { FIELD_DOCUMENTS } from '../support/oci-documents-linux.js';

const PARSERS = { config: parseSpec, state: parseState, features: parseFeatures };

for (const doc of [...OCI_DOCUMENTS, ...FIELD_DOCUMENTS]) {
  test(`runtime-spec ${doc.kind}: ${doc.about} is ${doc.good ? 'accepted' : 'refused'}`, async () => {
    const parsing = PARSERS[doc.kind](doc.text);
    if (doc.good) {
      const { unknown } = await parsing;
      assert.deepEqual(unknown, []);
    } else {
      await assert.rejects(parsing, (e: Error & { code?: string }) => {
        assert.equal(e.code, 'INVALID_SPEC');
        assert.match(e.message, doc.says ?? /./);
        return true;
      });
    }
  });
}

const minimal = { ociVersion: '1.2.0', process: { cwd: '/', args: ['x'] } };

test('a fault names its path, what was expected and what came', async () => {
  const cases: [unknown, RegExp][] = [
    [
      { ...minimal, process: { cwd: 1 } },
      /^config\.json: process\.cwd: expected a string, received 1 \(number\)$/,
    ],
    [{ ...minimal, process: {} }, /process\.cwd: expected a string, but it is missing/],
    [
      { ...minimal, mounts: [{ type: 'bind' }] },
      /mounts\[0\]\.destination: expected a string, but it is missing/,
    ],
    [{ ...minimal, mounts: {} }, /mounts: expected an array, received an object/],
    [
      { ...minimal, linux: { namespaces: [{ type: 'net' }] } },
      /linux\.namespaces\[0\]\.type: expected one of "mount", "pid"/,
    ],
    [
      { ...minimal, process: { cwd: '/', user: { uid: -1 } } },
      /process\.user\.uid: expected an unsigned integer of 32 bits, received -1/,
    ],
    [
      { ...minimal, process: { cwd: '/', user: { uid: 1.5 } } },
      /process\.user\.uid: expected an unsigned integer of 32 bits/,
    ],
    [
      { ...minimal, process: { cwd: '/', user: { uid: 2 ** 32 } } },
      /process\.user\.uid: expected an unsigned integer of 32 bits, received 4294967296/,
    ],
    [{ ...minimal, annotations: { a: 1 } }, /annotations\.a: expected a string, received 1/],
    [
      { ...minimal, hooks: { poststop: [{ path: 'x' }] } },
      /hooks\.poststop\[0\]\.path: expected an absolute path/,
    ],
    [
      { ...minimal, hooks: { poststop: [{ path: '/x', timeout: 0 }] } },
      /hooks\.poststop\[0\]\.timeout: expected at least 1/,
    ],
    [
      { ...minimal, linux: { resources: { memory: { limit: 'x' } } } },
      /linux\.resources\.memory\.limit: expected an integer of 64 bits/,
    ],
    [{}, /ociVersion: expected a string, but it is missing/],
    [{ ociVersion: '2.0.0' }, /ociVersion: expected version 1 of runtime-spec/],
    [{ ociVersion: 'x' }, /ociVersion: expected a version such as/],
    [[], /the document: expected an object, received an array/],
    ['{"a":', /config\.json is not valid JSON/],
  ];
  for (const [document, pattern] of cases) {
    await assert.rejects(parseSpec(document), (e: Error) => {
      assert.match(e.message, pattern);
      return true;
    });
  }
});

test('fields that nobody knows are named', async () => {
  const { unknown } = await parseSpec({
    ...minimal,
    futuristic: true,
    linux: { resources: { memory: { limit: 1, compression: 'zstd' } }, sysctl: { 'net.x': '1' } },
    mounts: [{ destination: '/x', speed: 3 }],
    annotations: { 'free.form': 'yes' },
  });
  assert.deepEqual(unknown.sort(), ['futuristic', 'linux.resources.memory.compression', 'mounts[0].speed']);
});

test('null is absence, as in Go, and zero values are filled in', async () => {
  const { value } = await parseSpec(
    '{"ociVersion":"1.0.2","hooks":null,"process":{"cwd":"/","user":{"uid":5},"rlimits":null}}',
  );
  assert.equal(value.hooks, undefined);
  assert.deepEqual(value.process?.user, { uid: 5, gid: 0 });
});

test('64-bit integers keep every bit where that matters', async () => {
  const text = JSON.stringify(minimal).replace(
    '"args"',
    '"rlimits":[{"type":"RLIMIT_CORE","soft":18446744073709551615,"hard":18446744073709551615}],"env":["N=18446744073709551615 \\"99999999999999999\\""],"args"',
  );
  const { value } = await parseSpec(text);
  assert.equal(value.process?.rlimits?.[0]?.hard, 2n ** 64n - 1n);
  assert.equal(value.process?.env?.[0], 'N=18446744073709551615 "99999999999999999"');
  const limit = await parseSpec({
    ...minimal,
    linux: { resources: { memory: { limit: 9223372036854775807n } } },
  });
  assert.equal(limit.value.linux?.resources?.memory?.limit, Number(2n ** 63n - 1n));
  await assert.rejects(
    parseSpec({ ...minimal, linux: { resources: { memory: { limit: 2n ** 63n } } } }),
    /fits 64 bits/,
  );
});

test('JSON of big integers comes back as it was', () => {
  const text =
    '{"a":18446744073709551615,"b":-9223372036854775808,"c":1.5e300,"d":"12345678901234567890","e":9007199254740991}';
  const value = parseJson(text) as Record<string, unknown>;
  assert.equal(value['a'], 18446744073709551615n);
  assert.equal(value['d'], '12345678901234567890');
  assert.equal(value['e'], 9007199254740991);
  assert.equal(stringifyJson(value), text.replace('1.5e300', '1.5e+300'));
});

test('an image config keeps what it does not know, and is refused without its layers', async () => {
  const config = {
    architecture: 'amd64',
    os: 'linux',
    config: { Cmd: null, Entrypoint: ['/x'], Volumes: { '/data': {} }, 'vendor.field': 1 },
    rootfs: { type: 'layers', diff_ids: [`sha256:${'a'.repeat(64)}`] },
    docker_version: '26.1',
  };
  const { value } = await parseImageConfig(config);
  assert.equal(value.config?.Cmd, undefined);
  assert.equal(value.config?.['vendor.field'], 1);
  assert.equal(value['docker_version'], '26.1');
  await assert.rejects(
    parseImageConfig({ ...config, rootfs: { type: 'layers' } }),
    /rootfs\.diff_ids: expected an array, but it is missing/,
  );
  await assert.rejects(
    parseImageConfig({ ...config, rootfs: { type: 'layers', diff_ids: ['sha256:../../x'] } }),
    /rootfs\.diff_ids\[0\]: expected a digest/,
  );
});
