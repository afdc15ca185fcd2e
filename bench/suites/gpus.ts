/**
 * What a GPU costs in a container: its start (discovery, mounts, device program), which needs no GPU (the driver is a fake
 * one), and, where there is a real one, copy bandwidth and a matrix product.
 */
import path from 'node:path';
import { driverFiles, listGpus } from '../../src/devices/index.js';
import { writeTree } from '../../test/support/device-tree.js';
import { gpuRootfs } from '../../test/support/gpu-rootfs.js';
import { gpuTree } from '../../test/support/gpu-tree.js';
import { firstLine, type Row, type Side } from '../harness.js';
import { runHere } from '../nsbox.js';
import type { Setup } from '../setup.js';
import { cudaCheck, output } from '../timer.js';

/** Calls with the library's variable set: it looks for drivers there. */
async function withDriver<T>(root: string | undefined, work: () => Promise<T>): Promise<T> {
  const before = process.env['NSBOX_DRIVER_ROOT'];
  if (root === undefined) delete process.env['NSBOX_DRIVER_ROOT'];
  else process.env['NSBOX_DRIVER_ROOT'] = root;
  try {
    return await work();
  } finally {
    if (before === undefined) delete process.env['NSBOX_DRIVER_ROOT'];
    else process.env['NSBOX_DRIVER_ROOT'] = before;
  }
}

export async function gpuRows(setup: Setup): Promise<Row[]> {
  const rows = [startRow(setup)];
  try {
    const found = (await listGpus(driverFiles(process.env['NSBOX_DRIVER_ROOT'] ?? ''))).filter(
      (g) => g.vendor === 'nvidia',
    );
    if (found.length === 0) throw new Error('no NVIDIA GPU on this machine');
    rows.push(...workRows(setup));
  } catch (error) {
    setup.skip('GPU bandwidth and matrix product', firstLine(error));
  }
  return rows;
}

function startRow(setup: Setup): Row {
  const { place } = setup;
  const driver = path.join(place.directory, 'driver');
  writeTree(gpuTree(), driver);
  const timed = async (gpus?: string): Promise<number> => {
    const start = process.hrtime.bigint();
    await withDriver(driver, () => runHere(place, ['/true'], gpus === undefined ? {} : { gpus }));
    return Number(process.hrtime.bigint() - start);
  };
  return {
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
  };
}

function workRows(setup: Setup): Row[] {
  const { place } = setup;
  const program = cudaCheck();
  const rootfs = path.join(place.directory, 'gpu-rootfs');
  gpuRootfs(rootfs, program);
  const kinds = [
    // The program prints GB/s and GFLOP/s: of a time, less is better.
    { id: 'gpu-bandwidth', key: 'bandwidth', title: 'GPU: time to copy a GB on the device' },
    { id: 'gpu-product', key: 'product', title: 'GPU: time for 10⁹ operations of a matrix product' },
  ] as const;
  return kinds.map(({ id, key, title }): Row => {
    const figure = (text: string): number => {
      const value = (JSON.parse(text.trim().split('\n').at(-1) ?? '{}') as Record<string, number>)[key];
      if (!(value !== undefined && value > 0)) throw new Error(`no ${key} in ${text}`);
      return 1e9 / value;
    };
    const inside = (name: string, securityOpt: string[]): Side => ({
      name,
      run: async () =>
        figure(
          (
            await runHere(place, ['/cuda-check'], {
              rootfs,
              gpus: 'all',
              env: { PATH: '/usr/bin:/bin:/sbin' },
              securityOpt,
            })
          ).stdout,
        ),
    });
    return {
      suite: 'gpus',
      id,
      title,
      unit: 'ns',
      base: 'bare',
      rounds: setup.quick ? 7 : 15,
      sides: [
        { name: 'bare', run: async () => figure(await output([program])) },
        inside('nsbox', []),
        inside('nsbox --security-opt seccomp=unconfined', ['seccomp=unconfined']),
      ],
    };
  });
}
