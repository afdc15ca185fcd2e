/** A process with a gigabyte of live JavaScript objects that starts a container for each line it reads. */
import { createInterface } from 'node:readline';
import { type Place, runHere } from './nsbox.js';

const place = JSON.parse(process.argv[2] as string) as Place;
/** Arrays of objects, so that the collector has to know each: 16 Mi × 64 bytes. */
const heap = Array.from({ length: 256 }, (_, i) =>
  Array.from({ length: 65536 }, (_, j) => ({ a: i, b: j, c: i * j, d: null as unknown })),
);

createInterface({ input: process.stdin })
  .on('line', async () => {
    const start = process.hrtime.bigint();
    await runHere(place, ['/true']);
    process.stdout.write(`${process.hrtime.bigint() - start}\n`);
  })
  .on('close', () => process.exit(heap.length > 0 ? 0 : 1));
