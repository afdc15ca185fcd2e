import { describeStep, type StepText } from './describe.js';
import type { LaunchPlan, ListName } from './steps.js';
import { LISTS } from './steps.js';

const HEADINGS: Record<ListName, string> = {
  prepare: 'monitor, on the host, before the clone',
  clone: 'monitor: the clone',
  parent: 'monitor, on the host, after the clone',
  init: 'init, inside the namespaces',
  exit: 'monitor, after the program has ended',
  finish: 'monitor, when the container has ended for good',
};

export interface ExplainedStep extends StepText {
  number: number;
  who: 'monitor' | 'init';
  list: ListName;
  index: number;
  op: string;
}

/** Every step of a plan in words, in the order in which they run, numbered from 1. */
export function explainSteps(plan: LaunchPlan): ExplainedStep[] {
  const out: ExplainedStep[] = [];
  const add = (name: ListName, index: number, op: string, text: StepText) =>
    out.push({
      number: out.length + 1,
      who: name === 'init' ? 'init' : 'monitor',
      list: name,
      index,
      op,
      ...text,
    });
  for (const name of LISTS) {
    if (name !== 'clone') {
      plan[name].forEach((step, i) => {
        add(name, i, step.op, describeStep(step));
      });
      continue;
    }
    const { namespaces, join, cgroup } = plan.clone;
    const flags = [
      ...namespaces.map((n) => `CLONE_NEW${CLONE_SUFFIX[n]}`),
      'CLONE_PIDFD',
      ...(cgroup ? ['CLONE_INTO_CGROUP'] : []),
    ];
    if (join.length) {
      add(name, 0, 'join', {
        title: `Join ${join.flatMap((j) => j.namespaces).join(', ')}`,
        calls: join.map((j) => `setns(${j.pid === undefined ? j.path : `pidfd of ${j.pid}`})`).join('; '),
        why: 'these namespaces exist already',
        man: 'setns(2)',
      });
    }
    add(name, 0, 'clone', {
      title: namespaces.length ? `Clone init into new ${namespaces.join(', ')} namespaces` : 'Clone init',
      calls: `clone3(${flags.join('|')}${cgroup ? `, cgroup ${cgroup}` : ''})`,
      why: 'one call makes the process, its namespaces and its place in the cgroup tree; nothing has to be moved later',
      man: 'clone(2), namespaces(7)',
    });
  }
  return out;
}

const CLONE_SUFFIX = {
  user: 'USER',
  mount: 'NS',
  pid: 'PID',
  network: 'NET',
  ipc: 'IPC',
  uts: 'UTS',
  cgroup: 'CGROUP',
  time: 'TIME',
};

/** The plan as a readable numbered list. */
export function explainText(plan: LaunchPlan): string {
  const lines: string[] = [];
  let heading: ListName | undefined;
  for (const s of explainSteps(plan)) {
    if (s.list !== heading) {
      heading = s.list;
      lines.push(`${lines.length ? '\n' : ''}${HEADINGS[s.list]}`);
    }
    lines.push(
      `${String(s.number).padStart(4)}. ${s.title}`,
      `      ${s.calls}`,
      `      ${s.why} — ${s.man}`,
    );
  }
  return `${lines.join('\n')}\n`;
}

/** The plan as data: programs and masks in printable form. */
export function explainJson(plan: LaunchPlan): unknown {
  const texts = new Map(explainSteps(plan).map((s) => [`${s.list}${s.index}${s.op}`, s]));
  const convert = (value: unknown): unknown => {
    if (typeof value === 'bigint') return `0x${value.toString(16)}`;
    if (value instanceof Uint8Array) return { bytes: value.length };
    if (Array.isArray(value)) return value.map(convert);
    if (value && typeof value === 'object') {
      return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, convert(v)]));
    }
    return value;
  };
  const out: Record<string, unknown> = { id: plan.id, stdio: plan.stdio };
  for (const name of LISTS) {
    out[name] =
      name === 'clone'
        ? convert(plan.clone)
        : plan[name].map((step, i) => {
            const text = texts.get(`${name}${i}${step.op}`);
            return {
              ...(convert(step) as object),
              title: text?.title,
              calls: text?.calls,
              why: text?.why,
              man: text?.man,
            };
          });
  }
  return out;
}
