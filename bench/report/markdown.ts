/** The report as Markdown. */
import type { BenchResult } from '../result.js';
import { aimTable } from './tables.js';
import { machineLines, ordered, quantity, rateText, ratioText, verdict } from './words.js';

export function markdown(result: BenchResult): string {
  const out: string[] = ['# What a container costs here', ''];
  for (const line of verdict(result)) out.push(`- ${line}`);
  out.push(
    '',
    `Measured ${result.started}, ${Math.round(result.seconds)} s${result.quick ? ', --quick' : ''}.`,
    '',
  );
  out.push('| | |', '|---|---|', ...machineLines(result).map(([k, v]) => `| ${k} | ${v} |`), '');
  for (const suite of new Set(result.rows.map((r) => r.suite))) {
    out.push(`## ${suite}`, '');
    for (const row of result.rows.filter((r) => r.suite === suite)) {
      out.push(
        `### ${row.title}`,
        '',
        `| | median | 95 % interval | n | × ${row.base} | ${row.rate ? 'rate | ' : ''}|`,
        `|---|---:|---:|---:|---:|${row.rate ? '---:|' : ''}---|`,
      );
      for (const s of ordered(row)) {
        const { median, low, high } = s.summary;
        const figures =
          s.samples.length > 0
            ? [quantity(median, row.unit), `${quantity(low, row.unit)} – ${quantity(high, row.unit)}`]
            : ['–', '–'];
        const word = s.failed ?? (s.ratio && s.ratio.verdict !== 'none' ? s.ratio.verdict : '');
        const cells = [
          s.side,
          ...figures,
          s.samples.length,
          ratioText(s),
          ...(row.rate ? [rateText(row, s)] : []),
        ];
        out.push(`| ${cells.join(' | ')} | ${word} |`);
      }
      out.push('', `Noise (the base against itself): ±${(row.noise * 100).toFixed(1)} %.`, '');
    }
  }
  if (result.trace) {
    out.push(
      '## A start, step by step',
      '',
      `\`${result.trace.command}\`: the ten longest of ${result.trace.steps.length} steps.`,
      '',
      '| at | took | by | step |',
      '|---:|---:|---|---|',
    );
    const longest = [...result.trace.steps].sort((a, b) => b.end - b.start - (a.end - a.start)).slice(0, 10);
    for (const s of longest)
      out.push(
        `| ${quantity(s.start, 'ns')} | ${quantity(s.end - s.start, 'ns')} | ${s.list} | ${s.title.replaceAll('|', '\\|')} |`,
      );
    out.push('');
  }
  out.push('## Aims', '', ...aimTable(result), '');
  if (result.skipped.length > 0) {
    out.push('## Not measured', '', ...result.skipped.map((s) => `- ${s.name}: ${s.why}`), '');
  }
  out.push(
    'A difference is called a cost or a saving only where its 95 % interval excludes 1.00 and it is larger than the',
    'noise: the base measured against itself in the same run. Ratios are taken pair by pair within rounds whose order',
    'is random. All samples are in result.json.',
    '',
  );
  return out.join('\n');
}
