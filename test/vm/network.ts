import { existsSync } from 'node:fs';
import { NETWORK_SCENARIOS } from '../support/network-scenarios.js';
import { report } from './report.js';

/** Runs inside the test VM: what only some kernels have between two hosts. None is left out here. */
if (!existsSync('/run/vm')) throw new Error('this file is for the test VM: npm run test:vm');
for (const scenario of NETWORK_SCENARIOS) {
  await report(scenario.name, async () => {
    const missing = scenario.missing();
    if (missing) throw new Error(missing);
    await scenario.run();
    return undefined;
  });
}
