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
  readonly log: Log;
}

/** A command: arguments after its name → exit status. */
export type Command = (runtime: Runtime, argv: readonly string[]) => Promise<number> | number;
