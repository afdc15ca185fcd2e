import type { Spec } from '../../../src/spec/index.js';
import type { OciWorld } from '../oci-bundle.js';

/** Rows that one scenario adds: behaviour → what was seen. Compared between runtimes, name by name. */
export type Rows = Record<string, string>;

export interface Scenario {
  name: string;
  rows: (world: OciWorld) => Rows | Promise<Rows>;
}

export type Change = (spec: Spec, world: OciWorld) => unknown;

/** Runs a container whose script prints `key=value` lines; each is a row, with the exit code. */
export function inside(name: string, change: Change, script: string): Scenario {
  return {
    name,
    rows: (world) => {
      const bundle = world.bundle((s) => {
        s.process!.args = ['sh', '-c', script];
        return change(s, world);
      });
      const r = world.call(['run', '--bundle', bundle, world.id()]);
      const rows: Rows = { exit: String(r.code) };
      for (const line of r.stdout.split('\n')) {
        const at = line.indexOf('=');
        if (at > 0) rows[line.slice(0, at)] = line.slice(at + 1).trim();
      }
      return rows;
    },
  };
}

/** A container that must not come to be: exit code, and whether the message has the words that callers look for. */
export function refused(name: string, change: Change, says?: RegExp): Scenario {
  return {
    name,
    rows: (world) => {
      const id = world.id();
      const r = world.create(
        id,
        world.bundle((s) => change(s, world)),
      );
      const rows: Rows = { exit: String(r.code), 'left behind': String(world.state(id) !== undefined) };
      if (says) rows[`says ${says.source}`] = String(says.test(r.stderr));
      world.call(['delete', '-f', id]);
      return rows;
    },
  };
}

/** Commands on a running (or stopped) container. */
export function commands(
  name: string,
  change: Change,
  act: (world: OciWorld, id: string) => Rows | Promise<Rows>,
): Scenario {
  return {
    name,
    rows: async (world) => {
      const id = world.id();
      const created = world.create(
        id,
        world.bundle((s) => change(s, world)),
      );
      if (created.code !== 0) return { create: `${created.code}` };
      const rows = await act(world, id);
      world.call(['delete', '-f', id]);
      return rows;
    },
  };
}

export const same: Change = () => undefined;
export const code = (r: { code: number | null }) => String(r.code);
/** Exit code, and whether stderr has these words. */
export const fails = (r: { code: number | null; stderr: string }, says: RegExp) =>
  `${r.code} ${says.test(r.stderr)}`;
