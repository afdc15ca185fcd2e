import { loadProgram } from '../support/load.js';
import { testInVm } from './boot.js';

/** Everything that needs real controllers, and images on an older kernel: see guest.ts. */
testInVm('limits on cgroup2 with every controller', 'guest.js', {
  // Five minutes on a quiet machine; the rest is for one that is kept busy by others.
  seconds: 900,
  prepare: () => ({ NSBOX_TEST_LOAD: loadProgram() }),
});
