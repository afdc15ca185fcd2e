import { COMMANDS } from './oci-table/commands.js';
import { INSIDE } from './oci-table/inside.js';
import { REFUSED } from './oci-table/refused.js';
import type { Scenario } from './oci-table/scenario.js';

/** Behaviours of an OCI runtime, asked of nsbox-oci and of others: see test/support/oci-compare.ts. */
export const SCENARIOS: Scenario[] = [...INSIDE, ...REFUSED, ...COMMANDS];
