import { NsboxError } from '../base/index.js';
import { failureLine } from './cli.js';
import type { Io } from './io.js';

/**
 * Does something for each argument, one after another, as `stop`, `rm`, `rmi` do: the name is printed where it worked, a
 * line on standard error where not, and the rest goes on.
 * @returns 0, or 1 where anything failed
 */
export async function forEach(
  io: Io,
  names: readonly string[],
  action: (name: string) => Promise<unknown>,
  /** Text per success; default the name itself. */
  shown: (name: string) => string | undefined = (name) => name,
): Promise<number> {
  let code = 0;
  for (const name of names) {
    try {
      await action(name);
      const text = shown(name);
      if (text !== undefined) io.out(`${text}\n`);
    } catch (error) {
      if (!(error instanceof NsboxError)) throw error;
      io.err(`nsbox: ${failureLine(error)}\n`);
      code = 1;
    }
  }
  return code;
}

/** Asks for yes on a terminal; anything else (or no terminal at all) is no. */
export async function confirm(io: Io, question: string): Promise<boolean> {
  io.out(`${question}\nAre you sure you want to continue? [y/N] `);
  const { createInterface } = await import('node:readline');
  const lines = createInterface({ input: io.stdin });
  try {
    for await (const line of lines) return /^y(es)?$/i.test(line.trim());
    io.out('\n');
    return false;
  } finally {
    lines.close();
    io.stdin.pause();
  }
}
