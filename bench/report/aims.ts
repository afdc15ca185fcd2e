/** What nsbox holds itself to, row by row: held, missed, or within what this run can't tell apart. */
import { AGAIN, type RowResult, type SideResult } from '../harness.js';
import type { BenchResult } from '../result.js';
import { compare, difference } from '../stats.js';
import { digits, quantity, ratioText } from './words.js';

export interface AimResult {
  row: string;
  side: string;
  aim: string;
  measured: string;
  /** `open`: over the aim, but not by more than noise or interval. */
  verdict: 'held' | 'open' | 'missed';
}

interface Aim {
  suite: string;
  ids?: RegExp;
  side: string;
  /** Largest ratio to the base; 1 means none that is measurable. */
  ratio?: number;
  /** Nanoseconds that may be added to the base. */
  adds?: number;
  /** Nanoseconds at most. */
  atMost?: number;
}

const REAL_WORK = 1 / 0.95;
const METRIC = /^(tcp-1|tcp-8|rr|connect|redis|nginx)$/;

const AIMS: readonly Aim[] = [
  { suite: 'cpu', side: 'nsbox', ratio: 1 },
  { suite: 'memory', side: 'nsbox', ratio: 1 },
  { suite: 'syscalls', ids: /^getpid$/, side: 'nsbox', ratio: 1.3 },
  { suite: 'syscalls', ids: /^(?!getpid$)/, side: 'nsbox', ratio: 1.05 },
  { suite: 'disk', ids: /^(?!lower|copyup)/, side: 'nsbox --volume', ratio: 1 },
  { suite: 'disk', ids: /^lower/, side: 'nsbox', ratio: 1.02 },
  { suite: 'network', ids: METRIC, side: 'nsbox --network=host', ratio: 1 },
  { suite: 'network', ids: /^(redis|nginx)$/, side: 'nsbox bridge', ratio: REAL_WORK },
  { suite: 'network', ids: /^wiring$/, side: 'bridge', adds: 1.5e6 },
  { suite: 'network', ids: /^many$/, side: 'the 200th', ratio: 1 },
  { suite: 'network', ids: /^names$/, side: 'nsbox', atMost: 1e6 },
  { suite: 'application', side: 'nsbox', ratio: REAL_WORK },
  { suite: 'start', ids: /^start$/, side: 'library run()', ratio: 2 },
  { suite: 'resources', ids: /^cgroup$/, side: 'with figures', atMost: 0.5e6 },
  { suite: 'resources', ids: /^stats$/, side: '200 containers', ratio: 1.5 },
];

/** Every aim that this result has figures for, and in each row the best of the other runtimes. */
export function aims(result: BenchResult): AimResult[] {
  const out: AimResult[] = [];
  for (const row of result.rows) {
    for (const aim of AIMS) {
      if (aim.suite !== row.suite || (aim.ids && !aim.ids.test(row.id))) continue;
      const side = row.sides.find((s) => s.side === aim.side);
      if (side && side.samples.length > 0) out.push(judge(aim, row, side));
    }
    out.push(...againstPeers(row));
  }
  return out;
}

function judge(aim: Aim, row: RowResult, side: SideResult): AimResult {
  const common = { row: row.title, side: side.side };
  if (aim.atMost !== undefined) {
    const { median, low } = side.summary;
    const verdict = median <= aim.atMost ? 'held' : low <= aim.atMost ? 'open' : 'missed';
    const bound = `at most ${quantity(aim.atMost, row.unit)}`;
    return { ...common, aim: bound, measured: quantity(median, row.unit), verdict };
  }
  if (aim.adds !== undefined) {
    const base = row.sides.find((s) => s.side === row.base);
    const { median, low, high } = difference(side.samples, base?.samples ?? []);
    const verdict = median <= aim.adds ? 'held' : low <= aim.adds ? 'open' : 'missed';
    const [m, l, h] = [median, low, high].map((v) => quantity(v, row.unit));
    return {
      ...common,
      aim: `adds at most ${quantity(aim.adds, row.unit)}`,
      measured: `adds ${m} (${l} – ${h})`,
      verdict,
    };
  }
  const limit = aim.ratio ?? 1;
  const ratio = side.ratio;
  const verdict =
    !ratio || ratio.median <= limit || (limit === 1 && ratio.verdict !== 'cost')
      ? 'held'
      : ratio.low <= limit || ratio.median <= limit + row.noise
        ? 'open'
        : 'missed';
  const bound = limit === 1 ? `1.00 × ${row.base}` : `at most ${digits(limit)} × ${row.base}`;
  return { ...common, aim: bound, measured: ratioText(side), verdict };
}

const PEERS = ['bwrap', 'crun', 'runc', 'systemd-nspawn', 'podman', 'docker'];
/** Those that put a layer on the same disk over the image. The others write into it, or (nspawn) into memory. */
const LAYERED = ['podman', 'docker'];

/**
 * nsbox beside the best of the others that did the same in the same way (by default, on a volume, through a bridge). A
 * start is left out: bwrap and crun set up less of a container than the others, see docs/specification.md.
 */
function againstPeers(row: RowResult): AimResult[] {
  if (row.suite === 'start' || row.suite === 'density') return [];
  const out: AimResult[] = [];
  for (const own of row.sides) {
    if (!/^nsbox( |$)/.test(own.side) || own.samples.length === 0 || own.side.endsWith(AGAIN)) continue;
    const way = own.side.slice('nsbox'.length);
    const peers = row.suite === 'disk' && way === '' ? LAYERED : PEERS;
    const best = row.sides
      .filter((s) => peers.some((p) => s.side === p + way) && s.samples.length > 0)
      .sort((a, b) => a.summary.median - b.summary.median)[0];
    if (!best) continue;
    const ratio = compare(own.samples, best.samples, row.noise);
    out.push({
      row: row.title,
      side: own.side,
      aim: `as good as the best other, ${best.side}`,
      measured: ratioText({ ...own, ratio }),
      verdict: ratio.verdict === 'cost' ? 'missed' : 'held',
    });
  }
  return out;
}
