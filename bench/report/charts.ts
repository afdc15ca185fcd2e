/** Plots as SVG, by vega-lite without a browser. Colours come from the page, so that dark mode works. */
import { AGAIN, type RowResult } from '../harness.js';
import type { Trace } from '../result.js';
import { isOverhead, quantity } from './words.js';

const FONT = 'system-ui, sans-serif';
/** Replaced in the SVG by what the page defines, for light and for dark. */
const INK = '#123456';
const ACCENT = '#234567';
const FAINT = '#345678';

async function svg(spec: unknown): Promise<string> {
  const [{ compile }, vega] = await Promise.all([import('vega-lite'), import('vega')]);
  const base = {
    background: 'transparent',
    config: {
      font: FONT,
      view: { stroke: null },
      axis: {
        labelColor: INK,
        titleColor: INK,
        tickColor: FAINT,
        domainColor: FAINT,
        gridColor: FAINT,
        gridOpacity: 0.25,
        labelLimit: 260,
        labelFontSize: 12,
        titleFontSize: 12,
      },
      legend: { labelColor: INK, titleColor: INK, labelLimit: 400 },
    },
  };
  const compiled = compile({ ...base, ...(spec as object) } as Parameters<typeof compile>[0]).spec;
  const view = new vega.View(vega.parse(compiled), { renderer: 'none' });
  const text = await view.toSVG();
  view.finalize();
  return text
    .replaceAll(INK, 'var(--ink)')
    .replaceAll(ACCENT, 'var(--accent)')
    .replaceAll(FAINT, 'var(--faint)')
    .replace('<svg ', '<svg role="img" style="max-width:100%;height:auto" ');
}

/** Ratios to bare of one suite with their intervals, and the line at 1.00. Other runtimes are hollow. */
export function ratioChart(rows: readonly RowResult[]): Promise<string> {
  const values = rows.filter(isOverhead).flatMap((row) =>
    row.sides
      .filter((s) => s.ratio && !s.side.endsWith(AGAIN))
      .map((s) => ({
        row: row.title,
        side: s.side,
        own: s.side.startsWith('nsbox'),
        // An interval that leaves the picture ends at its edge.
        ratio: s.ratio?.median,
        low: Math.max(s.ratio?.low ?? 0, 0.01),
        high: Math.min(s.ratio?.high ?? 0, 100),
      })),
  );
  const extreme = values.some((v) => (v.ratio ?? 1) > 3 || (v.ratio ?? 1) < 0.33);
  const y = { field: 'row', type: 'nominal', title: null, sort: null };
  const yOffset = { field: 'side', sort: null };
  const color = {
    field: 'side',
    type: 'nominal',
    title: null,
    sort: null,
    legend: { orient: 'top', columns: 2 },
    scale: { scheme: 'tableau20' },
  };
  const scale = extreme ? { type: 'log' } : { zero: false };
  const x = { type: 'quantitative', title: 'time ÷ bare (less is better)', scale };
  const point = (own: boolean) => ({
    transform: [{ filter: `datum.own === ${own}` }],
    mark: { type: 'point', filled: own, size: 45, opacity: 1 },
    encoding: { y, yOffset, color, x: { ...x, field: 'ratio' } },
  });
  return svg({
    width: 420,
    height: { step: 13, for: 'offset' },
    data: { values },
    layer: [
      { mark: { type: 'rule', color: INK, strokeDash: [4, 3] }, encoding: { x: { datum: 1 } } },
      {
        mark: { type: 'rule', strokeWidth: 2 },
        encoding: { y, yOffset, color, x: { ...x, field: 'low' }, x2: { field: 'high' } },
      },
      point(true),
      point(false),
    ],
  });
}

/** The steps of a start as they lie in time, those of each process below one another. */
export function flameChart(trace: Trace): Promise<string> {
  // Short steps are many: together they are a bar, so that the picture stays readable.
  const all = Math.max(...trace.steps.map((s) => s.end));
  const values: { step: string; list: string; start: number; end: number }[] = [];
  for (const s of [...trace.steps].sort((a, b) => a.start - b.start)) {
    const small = s.end - s.start < all / 150;
    const last = values.at(-1);
    if (small && last?.list === s.list && last.step.startsWith('short steps')) last.end = s.end / 1000;
    else {
      const at = `${values.length + 1}`.padStart(2, '0');
      const step = small ? `short steps (${at})` : `${s.title.slice(0, 48)} (${at})`;
      values.push({ step, list: s.list, start: s.start / 1000, end: s.end / 1000 });
    }
  }
  return svg({
    width: 420,
    height: { step: 13 },
    data: { values },
    mark: { type: 'bar', height: 10 },
    encoding: {
      y: {
        field: 'step',
        type: 'nominal',
        title: null,
        sort: null,
        axis: { labelFontSize: 10, labelLimit: 230 },
      },
      x: { field: 'start', type: 'quantitative', title: 'µs since the first step' },
      x2: { field: 'end' },
      color: {
        field: 'list',
        type: 'nominal',
        title: 'carried out by',
        legend: { orient: 'top' },
        scale: { scheme: 'tableau10' },
      },
    },
  });
}

/** Every sample of a row, a strip for each side, with its median. */
export function distributionChart(row: RowResult): Promise<string> {
  const scale = row.unit === 'ns' ? 1e6 : row.unit === 'bytes' ? 1024 : 1;
  const unit = row.unit === 'ns' ? 'ms' : row.unit === 'bytes' ? 'KiB' : '';
  const sides = row.sides
    .filter((s) => s.samples.length > 0)
    .sort((a, b) => a.summary.median - b.summary.median);
  const values = sides.flatMap((s) => s.samples.map((v) => ({ side: s.side, value: v / scale })));
  const medians = sides.map((s) => ({
    side: s.side,
    value: s.summary.median / scale,
    label: quantity(s.summary.median, row.unit),
  }));
  const spread =
    Math.max(...values.map((v) => v.value)) / Math.max(1e-9, Math.min(...values.map((v) => v.value)));
  const y = { field: 'side', type: 'nominal', title: null, sort: sides.map((s) => s.side) };
  const x = {
    field: 'value',
    type: 'quantitative',
    title: unit,
    scale: spread > 20 ? { type: 'log' } : { zero: spread > 2, nice: true },
  };
  return svg({
    width: 420,
    height: { step: 26 },
    layer: [
      {
        data: { values },
        mark: { type: 'tick', color: ACCENT, opacity: 0.45, thickness: 1.5 },
        encoding: { x, y },
      },
      {
        data: { values: medians },
        mark: { type: 'point', shape: 'diamond', filled: true, size: 60, color: INK, opacity: 1 },
        encoding: { x, y },
      },
      {
        data: { values: medians },
        mark: { type: 'text', color: INK, dy: -10, fontSize: 11 },
        encoding: { x, y, text: { field: 'label' } },
      },
    ],
  });
}
