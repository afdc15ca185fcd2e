/** What `--gpus all` adds to a start: discovery, mounts, device program. No GPU is needed: the driver is a fake one. */
import path from 'node:path';
import { writeTree } from '../../test/support/device-tree.js';
import { gpuTree } from '../../test/support/gpu-tree.js';
import type { Row } from '../harness.js';
import { runHere } from '../nsbox.js';
import type { Setup } from '../setup.js';

export function gpuRows(setup: Setup): Row[] {
  const { place } = setup;
  const driver = path.join(place.directory, 'driver');
  writeTree(gpuTree(), driver);
  const timed = async (gpus?: string): Promise<number> => {
    // The library looks for drivers where its environment says.
    process.env['NSBOX_DRIVER_ROOT'] = driver;
    const start = process.hrtime.bigint();
    await runHere(place, ['/true'], gpus === undefined ? {} : { gpus });
    return Number(process.hrtime.bigint() - start);
  };
  return [
    {
      suite: 'gpus',
      id: 'gpus',
      title: 'A program that does nothing, with one GPU of a fake driver',
      unit: 'ns',
      base: 'without',
      rounds: setup.quick ? 15 : 60,
      sides: [
        { name: 'without', run: () => timed() },
        { name: '--gpus all', run: () => timed('all') },
      ],
    },
  ];
}
