import { defineCommand } from '../command.js';

export const command = defineCommand({
  name: 'doctor',
  usage: '[OPTIONS]',
  summary: 'Check whether this machine can run containers, and say what to do',
  options: {
    format: { type: 'string', help: "'json' for the findings as data" },
    gpu: { type: 'bool', help: 'Look at GPUs alone: drivers, nodes, libraries, versions, permissions' },
    quiet: { type: 'bool', short: 'q', help: 'Only what is not well' },
  },
  rootless: true,
  async run({ flags }, io, ctx) {
    const { examineGpus, examineHost } = await import('../../engine/index.js');
    const findings = flags.gpu ? await examineGpus(ctx) : examineHost(ctx);
    const problems = findings.filter((f) => f.level === 'problem').length;
    if (flags.format === 'json') io.out(`${JSON.stringify(findings, null, 2)}\n`);
    else {
      const shown = flags.quiet ? findings.filter((f) => f.level !== 'ok') : findings;
      const width = Math.max(0, ...shown.map((f) => f.what.length));
      for (const f of shown) {
        io.out(`${MARKS[f.level]} ${f.what.padEnd(width)}  ${f.found}\n`);
        if (f.advice) io.out(`${' '.repeat(9)}${f.advice}\n`);
      }
      const notes = findings.filter((f) => f.level === 'note').length;
      io.out(
        problems > 0
          ? `\n${problems} problem${problems === 1 ? '' : 's'}: ${flags.gpu ? "GPUs won't work" : "containers won't start"} as they should.\n`
          : flags.gpu
            ? ''
            : `\nContainers can run here${notes > 0 ? `; ${notes} note${notes === 1 ? '' : 's'} above` : ''}.\n`,
      );
    }
    return problems > 0 ? 1 : 0;
  },
});

const MARKS = { ok: 'ok     ', note: 'note   ', problem: 'PROBLEM' };
