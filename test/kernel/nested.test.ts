import { test } from 'node:test';
import { makeContext } from '../../src/base/index.js';
import { hostFacts } from '../../src/host/index.js';
import { checkNestedLife, checkNestedLimits, checkNestedRefusal } from '../support/nested.js';
import { noBusybox } from '../support/rootfs.js';

/** nsbox in a container of nsbox. */
const { mode, controllers } = hostFacts(makeContext({ root: '/tmp', state: '/dev/null/none' })).cgroup;

test('inner containers run and are removed, whatever happened to their groups', { skip: noBusybox }, () =>
  checkNestedLife(),
);

test(
  'limits of inner containers hold',
  {
    skip:
      noBusybox ||
      (controllers.includes('memory') ? false : 'no memory controller on cgroup2 here: see the test VM'),
  },
  () => checkNestedLimits(),
);

test(
  'where controllers are bound to v1, a limit inside is refused with the reason',
  { skip: noBusybox || (mode === 'hybrid' ? false : `this host is ${mode}`) },
  () => checkNestedRefusal(),
);
