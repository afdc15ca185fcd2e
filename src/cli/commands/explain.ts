import type { Context } from '../../base/index.js';
import { InvalidError } from '../../base/index.js';
import { defineCommand } from '../command.js';
import type { Io } from '../io.js';
import { createFlags } from '../request/flags.js';
import { type CreateInput, parseRequest } from '../request/request.js';

export const command = defineCommand({
  name: 'explain',
  usage: '[OPTIONS] IMAGE [COMMAND] [ARG...]',
  summary: 'Print what `nsbox run` would do, step by step, without doing it',
  options: {
    ...createFlags,
    format: { type: 'string', help: "'text' or 'json'", default: 'text' },
  },
  args: { min: 1 },
  flagsFirst: true,
  failure: 125,
  async run(input, io, ctx) {
    return explain(input as unknown as CreateInput, input.flags.format, io, ctx);
  },
});

/** `run --explain[=json]` and `explain`. */
export async function explain(input: CreateInput, format: string, io: Io, ctx: Context): Promise<number> {
  if (format !== 'text' && format !== 'json') {
    throw new InvalidError(`invalid format for the plan: '${format}' (expected text or json)`);
  }
  const request = parseRequest(input, ctx);
  const { addVolumesFrom, showPlan } = await import('../../engine/index.js');
  addVolumesFrom(ctx, request, input.flags['volumes-from']);
  const { explainJson, explainText } = await import('../../plan/index.js');
  const plan = await showPlan(ctx, request);
  io.out(format === 'json' ? `${JSON.stringify(explainJson(plan), null, 2)}\n` : explainText(plan));
  return 0;
}
