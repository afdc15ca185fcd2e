import { after, before, test } from 'node:test';
import { CONTAINER_CHECKS, Place } from '../support/resource-containers.js';

let place: Place;
before(() => {
  place = new Place();
});
after(() => place[Symbol.asyncDispose]());

for (const check of CONTAINER_CHECKS) {
  test(check.name, async (t) => {
    const why = check.skip?.(place);
    if (why) t.skip(why);
    else await check.run(place);
  });
}
