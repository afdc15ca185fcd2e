import { makeContext } from '../../src/base/index.js';
import { planCgroup } from '../../src/cgroup/index.js';
import { hostFacts } from '../../src/host/index.js';
import type { SpecResources } from '../../src/spec/index.js';
import { EFFECTS } from './limit-effects.js';
import { Rig } from './rig.js';

/**
 * Runs inside a view of the cgroup tree that a test made (a private mount namespace, a cgroup namespace), and prints
 * one JSON document: `plan RESOURCES` what is planned or refused, `effects NAME…` the effects whose names begin so.
 */
async function main(): Promise<unknown> {
  const [verb, ...args] = process.argv.slice(2);
  if (verb === 'plan') {
    const host = hostFacts(makeContext({ root: '/nonexistent/root', state: '/dev/null/none' }));
    try {
      const plan = planCgroup(JSON.parse(args[0] ?? '{}') as SpecResources, '/nsbox/view', host);
      return { mode: host.cgroup.mode, writes: plan.writes, groups: plan.groups };
    } catch (error) {
      const { message, hint, code } = error as { message: string; hint: string; code: string };
      return { mode: host.cgroup.mode, message, hint, code };
    }
  }
  const rig = new Rig();
  const results: { name: string; skipped?: string; error?: string }[] = [];
  try {
    for (const effect of EFFECTS.filter((e) => args.some((a) => e.name.startsWith(a)))) {
      const skipped = effect.skip?.(rig);
      try {
        if (!skipped) await effect.run(rig);
        results.push({ name: effect.name, ...(skipped ? { skipped } : {}) });
      } catch (error) {
        results.push({ name: effect.name, error: (error as Error).message });
      }
    }
    return { mode: rig.host.cgroup.mode, realRoot: rig.host.cgroup.realRoot, results };
  } finally {
    await rig[Symbol.asyncDispose]();
  }
}

process.stdout.write(`${JSON.stringify(await main())}\n`);
