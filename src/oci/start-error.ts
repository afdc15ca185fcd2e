import type { NsboxError } from '../base/index.js';
import { launchError } from '../engine/launch-error.js';
import { hostFacts } from '../host/index.js';
import type { StepFailure } from '../kernel/index.js';
import { plan } from '../plan/index.js';
import type { OciRecord } from './containers.js';
import type { Runtime } from './runtime.js';
import { loadSpec } from './spec-file.js';

/**
 * The message for a failure that init reported to `start`. A plan is a pure function of what the container was made
 * of, so the step that failed is found by making it again.
 */
export function startError(runtime: Runtime, record: OciRecord, failure: StepFailure): NsboxError {
  const spec = loadSpec(runtime.root, record.id);
  const made = plan({
    id: record.id,
    spec,
    host: hostFacts(runtime.ctx),
    rootfs: { kind: 'directory', path: record.rootfs, idmap: false },
    stdio: 'inherit',
  });
  // The waiting isn't among the steps here; only the last one, execve, is told in words of its own.
  const step = failure.syscall === 'execve' ? made.init.length - 1 : failure.step;
  return launchError(made, { ...failure, step });
}
