/** Numbers and verdicts as people read them. */
import { AGAIN, type RowResult, type SideResult } from '../harness.js';
import type { BenchResult } from '../result.js';
import { median } from '../stats.js';
import { aims } from './aims.js';

/** Three significant digits with a unit that fits: 1.83 ms, 512 KiB. */
export function quantity(value: number, unit: RowResult['unit']): string {
  if (!Number.isFinite(value)) return '–';
  const steps: [number, string][] =
    unit === 'ns'
      ? [
          [1e9, 's'],
          [1e6, 'ms'],
          [1e3, 'µs'],
          [1, 'ns'],
        ]
      : unit === 'bytes'
        ? [
            [2 ** 30, 'GiB'],
            [2 ** 20, 'MiB'],
            [2 ** 10, 'KiB'],
            [1, 'B'],
          ]
        : [[1, '']];
  const [scale, name] = steps.find(([s]) => Math.abs(value) >= s) ?? (steps.at(-1) as [number, string]);
  return `${digits(value / scale)} ${name}`.trim();
}

/** Three significant digits, never in exponents. */
export function digits(value: number): string {
  const decimals = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return value.toFixed(decimals);
}

/** `1.02 (1.00–1.04)` */
export function ratioText(side: SideResult): string {
  if (!side.ratio || !Number.isFinite(side.ratio.median)) return '';
  return `${digits(side.ratio.median)} (${digits(side.ratio.low)}–${digits(side.ratio.high)})`;
}

/** What the side does in a second, where the row says what a sample amounts to. */
export function rateText(row: RowResult, side: SideResult): string {
  if (!row.rate || side.samples.length === 0) return '';
  const perSecond = (row.rate.amount / side.summary.median) * 1e9;
  const { unit } = row.rate;
  const [scale, prefix] = ([1e9, 1e6, 1e3] as const)
    .map((s, i) => [s, ['G', 'M', 'k'][i]] as const)
    .find(([s]) => perSecond >= s) ?? [1, ''];
  return `${digits(perSecond / scale)} ${prefix}${unit}`;
}

const percent = (ratio: number): string => `${digits(Math.abs(ratio - 1) * 100)} %`;

/** Suites whose base is a bare run of the same program: where a difference is what a container costs. */
export function isOverhead(row: RowResult): boolean {
  return row.base === 'bare';
}

/** Sides that are nsbox in its default setting. */
export function isDefault(side: SideResult): boolean {
  return side.side === 'nsbox' || side.side === 'nsbox bridge';
}

/**
 * The verdict in words: where a loss is measurable, how large, and which setting removes it. One paragraph a line.
 */
export function verdict(result: BenchResult): string[] {
  const rows = result.rows.filter(isOverhead);
  const lines: string[] = [];
  const noise = median(result.rows.map((r) => r.noise).filter(Number.isFinite));
  if (result.machine.load > result.machine.processors / 2 || noise > 0.2)
    lines.push(
      `This machine was busy (load ${digits(result.machine.load)} before, noise ±${digits(noise * 100)} % in the middle row): what is smaller than the noise can't be seen.`,
    );
  const costs = rows.flatMap((row) => {
    const side = row.sides.find(isDefault);
    return side?.ratio?.verdict === 'cost' ? [{ row, side, ratio: side.ratio }] : [];
  });
  const measured = rows.filter((row) => row.sides.some((s) => isDefault(s) && s.ratio));
  if (measured.length > 0) {
    lines.push(
      costs.length === 0
        ? `No loss against the bare machine is measurable in any of ${measured.length} rows.`
        : `In ${measured.length - costs.length} of ${measured.length} rows no loss against the bare machine is measurable.`,
    );
  }
  for (const { row, side, ratio } of costs.sort((a, b) => b.ratio.median - a.ratio.median)) {
    const remedy = row.sides.find(
      (s) =>
        s.side.startsWith('nsbox ') && s.ratio && s.ratio.verdict !== 'cost' && s.ratio.median < ratio.median,
    );
    const better = row.sides
      .filter((s) => s.side.startsWith('nsbox ') && s.ratio && s.ratio.high < ratio.low)
      .sort((a, b) => (a.ratio?.median ?? 0) - (b.ratio?.median ?? 0))[0];
    const way = remedy
      ? ` With ${setting(remedy)} none is measurable.`
      : better?.ratio
        ? ` With ${setting(better)} it is ${percent(better.ratio.median)}.`
        : '';
    lines.push(
      `${row.title}: ${percent(ratio.median)} more time than bare (${digits(ratio.low)}–${digits(ratio.high)}; noise ±${digits(row.noise * 100)} %) in ${side.side}.${way}`,
    );
  }
  for (const suite of result.suites.filter((x) => x.failed))
    lines.push(`The suite ${suite.name} could not be measured: ${suite.failed}`);
  for (const row of result.rows.filter((r) => !isOverhead(r))) {
    const own = row.sides.find((s) => s.side === 'library run()' || isDefault(s));
    if (!own?.ratio) continue;
    lines.push(
      `${row.title}: ${own.side} takes ${quantity(own.summary.median, row.unit)}, ${digits(own.ratio.median)} × ${row.base}.`,
    );
  }
  const judged = aims(result);
  const missed = judged.filter((a) => a.verdict === 'missed');
  if (judged.length > 0) {
    lines.push(
      missed.length === 0
        ? `All ${judged.length} aims are held${judged.some((a) => a.verdict === 'open') ? ', or are within what this run can tell apart' : ''}.`
        : `${missed.length} of ${judged.length} aims are missed.`,
    );
    for (const a of missed) lines.push(`Missed: ${a.row}, ${a.side}: ${a.measured}; the aim is ${a.aim}.`);
  }
  return lines;
}

function setting(side: SideResult): string {
  return side.side.replace(/^nsbox /, '');
}

/** Sides in the order of a table: the base, the base again, then by their figure. */
export function ordered(row: RowResult): SideResult[] {
  const rank = (s: SideResult): number => (s.side === row.base ? 0 : s.side === row.base + AGAIN ? 1 : 2);
  const figure = (s: SideResult): number =>
    s.samples.length > 0 ? s.summary.median : Number.POSITIVE_INFINITY;
  return [...row.sides].sort((a, b) => rank(a) - rank(b) || figure(a) - figure(b));
}

/** The machine in a few lines. */
export function machineLines(result: BenchResult): [string, string][] {
  const m = result.machine;
  return [
    ['processor', `${m.processor}, ${m.processors} of them`],
    ['memory', quantity(m.memory, 'bytes')],
    ['kernel', `Linux ${m.kernel}, cgroups ${m.cgroups}, ${m.filesystem}`],
    ['system', `${m.distribution}, Node ${m.node}, nsbox ${m.nsbox}`],
    [
      'peers',
      Object.entries(m.peers)
        .map(([n, v]) => `${n} ${v}`)
        .join(', ') || 'none',
    ],
    ['load before', digits(m.load)],
    [
      'time',
      `${Math.round(result.seconds)} s: ${result.suites.map((x) => `${x.name} ${Math.round(x.seconds)}`).join(', ')}`,
    ],
    [
      'mitigations',
      Object.entries(m.mitigations)
        .filter(([, v]) => v !== 'Not affected')
        .map(([n, v]) => `${n}: ${v}`)
        .join('; ') || 'none needed',
    ],
  ];
}
