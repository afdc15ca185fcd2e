/** The seccomp program of a default container, for the floor: compiled before, as nsbox has it in its cache. */
import os from 'node:os';
import { makeContext } from '../src/base/index.js';
import {
  DEFAULT_CAPABILITIES,
  defaultSeccompProfile,
  seccompProgram,
  seccompSection,
} from '../src/spec/index.js';

/** struct sock_filter[] */
export function profileProgram(state: string): Uint8Array {
  const machine = os.machine();
  const section = seccompSection(defaultSeccompProfile(), {
    capabilities: DEFAULT_CAPABILITIES,
    machine,
    kernel: os
      .release()
      .split('.')
      .map((n) => Number.parseInt(n, 10) || 0),
  });
  if (!section) throw new Error('the default seccomp profile allows everything');
  return seccompProgram(makeContext({ state, root: state }), section, machine).program;
}
