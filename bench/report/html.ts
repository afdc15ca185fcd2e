/** The report as one HTML page that needs nothing else: readable on a phone, in print, in light and in dark. */
import type { BenchResult } from '../result.js';
import { aims } from './aims.js';
import { distributionChart, flameChart, ratioChart } from './charts.js';
import { isOverhead, machineLines, ordered, quantity, rateText, ratioText, verdict } from './words.js';

const STYLE = `
:root { color-scheme: light dark; --ink: #1c2430; --faint: #8a94a3; --accent: #1f77b4; --page: #fff; --card: #f5f7fa; --cost: #b3261e; --saving: #1b7f4b; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ee; --faint: #7d8795; --accent: #6cb6ff; --page: #14181f; --card: #1d232c; --cost: #ff8a80; --saving: #7fd6a4; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 1rem; font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); }
h1 { font-size: 1.7rem; } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--faint); } h3 { margin-top: 2rem; }
.verdict { background: var(--card); padding: .5rem 1rem; border-radius: .5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .2rem .7rem; text-align: right; white-space: nowrap; } th:first-child, td:first-child { text-align: left; }
thead th { border-bottom: 1px solid var(--faint); } .machine td { white-space: normal; text-align: left; vertical-align: top; }
.cost { color: var(--cost); } .saving { color: var(--saving); } .small { color: var(--faint); font-size: .85rem; }
figure { margin: 1rem 0; overflow-x: auto; } figure svg { min-width: 32rem; } /* on a phone it scrolls in place */
@media print { body { max-width: none; font-size: 11px; } h3, figure, table { break-inside: avoid; } figure svg { min-width: 0; } }
`;

const escaped = (s: string): string =>
  s.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');

export async function html(result: BenchResult): Promise<string> {
  const parts: string[] = [];
  const found = aims(result);
  if (found.length > 0) {
    const lines = found.map((a) => {
      const word = a.verdict === 'open' ? 'within noise' : a.verdict;
      const tone = a.verdict === 'missed' ? 'cost' : a.verdict === 'held' ? 'saving' : '';
      const cells = [`${a.row}: ${a.side}`, a.aim, a.measured].map((c) => `<td>${escaped(c)}</td>`).join('');
      return `<tr>${cells}<td class="${tone}">${word}</td></tr>`;
    });
    parts.push(
      `<details><summary>Aims: ${found.filter((a) => a.verdict !== 'missed').length} of ${found.length} held</summary><div class="wide"><table><tbody>${lines.join('')}</tbody></table></div></details>`,
    );
  }
  for (const suite of new Set(result.rows.map((r) => r.suite))) {
    parts.push(`<h2>${escaped(suite)}</h2>`);
    const measured = result.rows.filter((r) => r.suite === suite);
    if (measured.some((r) => isOverhead(r) && r.sides.some((s) => s.ratio))) {
      parts.push(
        `<figure class="wide" aria-label="${escaped(suite)}: ratios to the bare machine">${await ratioChart(measured)}</figure>`,
      );
    }
    if (suite === 'start' && result.trace) {
      parts.push(
        '<h3>A start, step by step</h3>',
        `<p class="small"><code>${escaped(result.trace.command)}</code></p>`,
        `<figure class="wide" aria-label="The steps of a start in time">${await flameChart(result.trace)}</figure>`,
      );
    }
    for (const row of result.rows.filter((r) => r.suite === suite)) {
      parts.push(`<h3>${escaped(row.title)}</h3>`);
      if (row.sides.some((s) => s.samples.length > 0)) {
        parts.push(
          `<figure aria-label="${escaped(row.title)}: all samples">${await distributionChart(row)}</figure>`,
        );
      }
      const lines = ordered(row).map((s) => {
        const word = s.failed ?? (s.ratio && s.ratio.verdict !== 'none' ? s.ratio.verdict : '');
        const { median, low, high } = s.summary;
        const figures =
          s.samples.length > 0
            ? [quantity(median, row.unit), `${quantity(low, row.unit)} – ${quantity(high, row.unit)}`]
            : ['–', '–'];
        const cells = [s.side, ...figures, String(s.samples.length), ratioText(s)];
        if (row.rate) cells.push(rateText(row, s));
        return `<tr>${cells.map((c) => `<td>${escaped(c)}</td>`).join('')}<td class="${s.ratio?.verdict ?? ''}">${escaped(word)}</td></tr>`;
      });
      parts.push(
        `<div class="wide"><table><thead><tr><th></th><th>median</th><th>95 % interval</th><th>n</th><th>× ${escaped(row.base)}</th>${row.rate ? '<th>rate</th>' : ''}<th></th></tr></thead><tbody>${lines.join('')}</tbody></table></div>`,
        `<p class="small">Noise, the base against itself: ±${(row.noise * 100).toFixed(1)} %.</p>`,
      );
    }
  }
  const skipped = result.skipped.map((s) => `<li>${escaped(`${s.name}: ${s.why}`)}</li>`).join('');
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>What a container costs here</title><link rel="icon" href="data:,"><style>${STYLE}</style></head><body>
<h1>What a container costs here</h1>
<div class="verdict"><ul>${verdict(result)
    .map((l) => `<li>${escaped(l)}</li>`)
    .join('')}</ul></div>
<p class="small">Measured ${escaped(result.started)}, ${Math.round(result.seconds)} s${result.quick ? ', --quick' : ''}.</p>
${parts.join('\n')}
${skipped ? `<h2>Not measured</h2><ul>${skipped}</ul>` : ''}
<h2>The machine</h2>
<table class="machine"><tbody>${machineLines(result)
    .map(([k, v]) => `<tr><th>${escaped(k)}</th><td>${escaped(v)}</td></tr>`)
    .join('')}</tbody></table>
<h2>How this was measured</h2>
<p>Every round does each side once, in random order; the first round is dropped. Ratios are taken within a round. A
difference is called a cost or a saving only where its 95 % interval excludes 1.00 and it is larger than the noise: the
base measured against itself in the same run. All samples are in result.json.</p>
</body></html>
`;
}
