/**
 * npm run test:gpu: what can only be checked on a machine with an NVIDIA GPU. The same file goes, bundled, into the
 * archive that `npm run test:gpu -- --pack` makes for machines without the sources.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { packageRoot } from '../../src/base/index.js';
import { checkGpus, driverFiles, listGpus } from '../../src/devices/index.js';
import { type RunOptions, type RunResult, run } from '../../src/index.js';
import { gpuRootfs } from '../support/gpu-rootfs.js';

const ROUNDS = 5;
/** Where the driver is: the machine itself, or a fake one for a rehearsal. */
const ROOT = process.env['NSBOX_DRIVER_ROOT'] ?? '';
const FILES = driverFiles(ROOT);

interface Check {
  title: string;
  /** @returns what was found; throws where it isn't as it should be */
  run: (bench: Bench) => Promise<string>;
}

interface Bench {
  directory: string;
  rootfs: string;
  program: string;
  inside: (command: readonly string[], options?: Partial<RunOptions>) => Promise<RunResult>;
}

/** What cuda-check prints. */
interface Cuda {
  cuda: number;
  gpus: number;
  name: string;
  uuid: string;
  bandwidth: number;
  product: number;
}

const CHECKS: Check[] = [
  {
    title: 'the driver, its nodes and libraries are in order (nsbox doctor --gpu)',
    run: async () => {
      const problems = (await checkGpus(FILES)).filter((c) => c.status === 'problem');
      must(problems.length === 0, problems.map((p) => `${p.name}: ${p.found}`).join('; '));
      return (await listGpus(FILES)).map((g) => `${g.index} ${g.name} ${g.uuid ?? ''}`.trim()).join(', ');
    },
  },
  {
    title: 'nvidia-smi -L says the same inside as outside',
    run: async (b) => {
      const smi = ['/usr/bin/nvidia-smi', '/usr/local/nvidia/bin/nvidia-smi']
        .map((f) => ROOT + f)
        .find((f) => existsSync(f));
      if (!smi) return 'skipped: this host has no nvidia-smi';
      const out = execFileSync(smi, ['-L']).toString();
      const inside = await b.inside(['/usr/bin/nvidia-smi', '-L'], { gpus: 'all' });
      must(inside.stdout === out, `outside:\n${out}inside:\n${inside.stdout}${inside.stderr}`);
      return `${out.trim().split('\n').length} lines`;
    },
  },
  {
    title: 'a CUDA program (vector sum by the driver API, no toolkit) gives the same inside as outside',
    run: async (b) => {
      const bare = outside(b.program);
      const boxed = await cuda(b);
      must(
        bare.uuid === boxed.uuid && bare.cuda === boxed.cuda && bare.gpus === boxed.gpus,
        JSON.stringify([bare, boxed]),
      );
      return `${boxed.name}, CUDA ${Math.floor(boxed.cuda / 1000)}.${Math.floor((boxed.cuda % 1000) / 10)}`;
    },
  },
  {
    title: `copy bandwidth and a matrix product: nsbox / bare is 1.00 within noise (${ROUNDS} rounds, interleaved)`,
    run: async (b) => {
      const bare: Cuda[] = [];
      const boxed: Cuda[] = [];
      for (let i = 0; i < ROUNDS; i++) {
        bare.push(outside(b.program));
        boxed.push(await cuda(b));
      }
      const lines = (['bandwidth', 'product'] as const).map((key) => {
        const of = (list: Cuda[]) => list.map((c) => c[key]).sort((x, y) => x - y);
        const [x, y] = [of(bare), of(boxed)];
        const ratio = median(y) / median(x);
        const noise = Math.max(0.02, (x.at(-1)! - x[0]!) / median(x));
        must(
          Math.abs(ratio - 1) <= noise,
          `${key}: ${ratio.toFixed(3)}, and the bare runs differ by ${noise.toFixed(3)}`,
        );
        return `${key} ${ratio.toFixed(3)} ± ${noise.toFixed(3)} (${median(y).toFixed(0)} ${key === 'product' ? 'GFLOP/s' : 'GB/s'})`;
      });
      return lines.join(', ');
    },
  },
  {
    title: 'without --gpus no GPU node is there, and none that comes in by a bind mount opens',
    run: async (b) => {
      const none = await b.inside(['/bin/sh', '-c', 'ls /dev | grep nvidia; true']);
      must(none.stdout === '', `there is ${none.stdout}`);
      const bound = await b.inside(['/bin/sh', '-c', ': </host-dev/nvidiactl'], {
        mounts: [{ source: `${ROOT}/dev`, target: '/host-dev' }],
      });
      must(bound.exitCode !== 0 && /not permitted|denied/i.test(bound.stderr), `it opened: ${bound.stderr}`);
      return bound.stderr.trim().split(': ').at(-1) ?? '';
    },
  },
  {
    title: 'one GPU of several is the only one that is visible',
    run: async (b) => {
      const gpus = (await listGpus(FILES)).filter((g) => g.vendor === 'nvidia');
      if (gpus.length < 2) return 'skipped: this host has one GPU';
      for (const { index } of gpus) {
        const seen = await cuda(b, `device=${index}`);
        must(seen.gpus === 1, `device=${index} shows ${seen.gpus}`);
      }
      return `${gpus.length} GPUs, one at a time`;
    },
  },
  {
    title: 'by index, UUID and CDI name it is the same GPU',
    run: async (b) => {
      const uuid = (await listGpus(FILES))[0]?.uuid;
      const seen = [await cuda(b, 'device=0'), ...(uuid ? [await cuda(b, `device=${uuid}`)] : [])];
      const cdi = await b.inside(['/cuda-check'], { devices: ['nvidia.com/gpu=0'] });
      seen.push(JSON.parse(cdi.stdout || '{}') as Cuda);
      must(new Set(seen.map((s) => s.uuid)).size === 1, JSON.stringify(seen));
      return seen[0]?.uuid ?? '';
    },
  },
  {
    title: '`systemctl daemon-reload` takes no GPU away from a container that runs',
    run: async (b) => {
      if (!existsSync('/run/systemd/system')) return 'skipped: no systemd here';
      const running = b.inside(['/bin/sh', '-c', 'sleep 3; exec /cuda-check'], { gpus: 'all' });
      execFileSync('systemctl', ['daemon-reload']);
      const { exitCode, stderr } = await running;
      must(exitCode === 0, stderr);
      return 'CUDA works after it';
    },
  },
];

async function main(argv: readonly string[]): Promise<number> {
  const gpus = (await listGpus(FILES)).filter((g) => g.vendor === 'nvidia');
  if (argv.includes('--list') || gpus.length === 0) {
    console.log(
      gpus.length === 0 ? 'No NVIDIA GPU here. On a machine with one, this checks:' : 'This checks:',
    );
    for (const { title } of CHECKS) console.log(`  - ${title}`);
    return 0;
  }
  if (process.geteuid?.() !== 0) throw new Error('nsbox needs root: sudo npm run test:gpu');
  const bench = prepare();
  let failed = 0;
  try {
    for (const check of CHECKS) {
      try {
        const found = await check.run(bench);
        console.log(`${found.startsWith('skipped') ? 'skip  ' : 'ok    '} ${check.title}\n         ${found}`);
      } catch (error) {
        failed++;
        console.log(`FAILED ${check.title}\n         ${(error as Error).message}`);
      }
    }
  } finally {
    rmSync(bench.directory, { recursive: true, force: true });
  }
  return failed > 0 ? 1 : 0;
}

/** A root filesystem with the CUDA program, and how to run in it. */
function prepare(): Bench {
  const directory = mkdtempSync('/var/tmp/nsbox-test-gpu-');
  const rootfs = path.join(directory, 'rootfs');
  const program = path.join(packageRoot(), 'build/gpu/cuda-check');
  gpuRootfs(rootfs, program);
  const inside: Bench['inside'] = (command, options) =>
    run({
      rootfs,
      command,
      root: path.join(directory, 'root'),
      state: path.join(directory, 'state'),
      env: { PATH: '/usr/bin:/bin:/sbin' },
      ...options,
    });
  return { directory, rootfs, program, inside };
}

function outside(program: string): Cuda {
  const done = spawnSync(program);
  must(done.status === 0, `outside any container: ${done.stderr}`);
  return JSON.parse(done.stdout.toString()) as Cuda;
}

async function cuda(b: Bench, gpus = 'all'): Promise<Cuda> {
  const { exitCode, stdout, stderr } = await b.inside(['/cuda-check'], { gpus });
  must(exitCode === 0, `inside: exit code ${exitCode}: ${stderr}`);
  return JSON.parse(stdout) as Cuda;
}

function median(sorted: readonly number[]): number {
  return sorted[sorted.length >> 1] ?? Number.NaN;
}

function must(condition: boolean, message: string): void {
  if (!condition) throw new Error(message);
}

process.exitCode = await main(process.argv.slice(2));
