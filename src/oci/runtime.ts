import type { Context } from '../base/index.js';
import type { Log } from './log.js';

/** What every command of the runtime is given: the global flags, understood. */
export interface Runtime {
  readonly ctx: Context;
  /** Directory with one directory per container. */
  readonly root: string;
  readonly rootGiven: boolean;
  readonly cgroupManager: 'cgroupfs' | 'systemd' | 'disabled';
  /** --criu: name or path of the program. */
  readonly criu: string | undefined;
  /** Without rights on the cgroup tree a container goes without groups, where it asks for no limits. */
  readonly rootless: boolean;
  readonly log: Log;
}

/** A command: arguments after its name → exit status. */
export type Command = (runtime: Runtime, argv: readonly string[]) => Promise<number> | number;
