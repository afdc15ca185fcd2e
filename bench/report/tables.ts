/** Short tables of a run for a document: a line for each row and setting, aims, and the peers. */
import { AGAIN } from '../harness.js';
import type { BenchResult } from '../result.js';
import { aims } from './aims.js';
import { digits, quantity, rateText, ratioText } from './words.js';

/** `npm run bench -- report --tables RESULT.json` */
export function tables(result: BenchResult): string {
  const out: string[] = [];
  const m = result.machine;
  out.push(
    `${m.processors} × ${m.processor}, Linux ${m.kernel}, cgroups ${m.cgroups}, ${m.filesystem}, ${m.distribution}, Node ${m.node},`,
    `nsbox ${m.nsbox}, ${result.started.slice(0, 10)}, load ${digits(m.load)} before, ${Math.round(result.seconds)} s${result.quick ? ', `--quick`' : ''}.`,
    '',
  );
  for (const suite of new Set(result.rows.map((r) => r.suite))) {
    const seconds = result.suites.find((s) => s.name === suite)?.seconds;
    out.push(
      `### ${suite}`,
      '',
      `\`npm run bench -- ${suite}\`${seconds === undefined ? '' : `, ${Math.round(seconds)} s here`}`,
      '',
      '| row | side | median | rate | × base | noise | |',
      '|---|---|---:|---:|---:|---:|---|',
    );
    for (const row of result.rows.filter((r) => r.suite === suite)) {
      let first = true;
      for (const s of row.sides) {
        if (s.side.endsWith(AGAIN)) continue;
        const what = first ? row.title : '';
        const figures =
          s.samples.length === 0
            ? ['–', '', '', '', (s.failed ?? '').replaceAll('|', '\\|')]
            : [
                quantity(s.summary.median, row.unit),
                rateText(row, s),
                s.side === row.base ? 'base' : ratioText(s),
                s.side === row.base ? `±${digits(row.noise * 100)} %` : '',
                s.ratio && s.ratio.verdict !== 'none' ? `**${s.ratio.verdict}**` : '',
              ];
        out.push(`| ${[what, s.side, ...figures].join(' | ')} |`);
        first = false;
      }
    }
    out.push('');
  }
  out.push('### Aims', '', ...aimTable(result), '');
  return out.join('\n');
}

/** Aims in Markdown. */
export function aimTable(result: BenchResult): string[] {
  const found = aims(result);
  if (found.length === 0) return ['No row of this run has an aim.'];
  return [
    '| row | side | aim | measured | |',
    '|---|---|---|---:|---|',
    ...found.map(
      (a) =>
        `| ${a.row} | ${a.side} | ${a.aim} | ${a.measured} | ${a.verdict === 'missed' ? '**missed**' : a.verdict === 'open' ? 'within noise' : 'held'} |`,
    ),
  ];
}
