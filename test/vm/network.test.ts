import { testProgram } from '../support/load.js';
import { testInVm } from './boot.js';

/** Links and protocols that the kernel of this machine may lack: see network.ts. */
testInVm('networks between two hosts, on a kernel that has all of them', 'network.js', {
  seconds: 240,
  prepare: () => ({ NSBOX_TEST_SCTP: testProgram('sctp') }),
});
