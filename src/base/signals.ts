import { constants } from 'node:os';
import { InvalidError } from './errors.js';

const SIGRTMIN = 34;
const SIGRTMAX = 64;

/** `KILL`, `SIGKILL`, `9`, `RTMIN+3` → number. @throws InvalidError */
export function signalNumber(text: string): number {
  if (/^\d+$/.test(text) && Number(text) <= SIGRTMAX) return Number(text);
  const name = text.toUpperCase().replace(/^SIG/, '');
  const real = /^RT(MIN|MAX)(?:([+-])(\d+))?$/.exec(name);
  if (real) {
    const n = (real[1] === 'MIN' ? SIGRTMIN : SIGRTMAX) + Number(`${real[2] ?? '+'}${real[3] ?? 0}`);
    if (n >= SIGRTMIN && n <= SIGRTMAX) return n;
  }
  const number = (constants.signals as Record<string, number>)[`SIG${name}`];
  if (number === undefined) {
    throw new InvalidError(`unknown signal ${JSON.stringify(text)}`, { hint: 'signal(7) lists the names' });
  }
  return number;
}
