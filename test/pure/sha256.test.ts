import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { PoolSha256 } from '../../src/kernel/index.js';

test('the digest of pieces hashed on the pool is that of node:crypto, several streams at a time', async () => {
  const streams = await Promise.all(
    [0, 1, 63, 64, 65, 1 << 20, 3_000_001].map(async (size) => {
      const data = randomBytes(size);
      const hash = PoolSha256.create();
      assert.ok(hash, 'this Node has the functions');
      // Not waited for one by one: their order is kept.
      for (let at = 0; at < size; at += 700_001) void hash.update(data.subarray(at, at + 700_001));
      return [await hash.digest(), createHash('sha256').update(data).digest('hex')];
    }),
  );
  for (const [pooled, expected] of streams) assert.equal(pooled, expected);
});
