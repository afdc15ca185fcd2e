import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CliRig } from '../support/cli.js';
import { checkImageIds, LAYERS, loadLayers, without } from '../support/image-ids.js';
import { makeTar } from '../support/images.js';
import { noBusybox } from '../support/rootfs.js';

/** Every way in which the plan makes an overlay, on the kernel that is here. The test VM's older one has its own run. */
describe(`an image of ${LAYERS} layers has a user namespace of its own`, { skip: noBusybox }, () => {
  test('as this kernel does it', () => checkImageIds());
  test('as kernels before 6.15 want it', () => checkImageIds(['idmappedLower', 'overlayLowerFd']));
  test('as kernels before 6.7 want it', () =>
    checkImageIds(['idmappedLower', 'overlayLowerFd', 'overlayLowerString']));
});

test('the plan says how the overlay is made, and a kernel without idmapped layers is told', {
  skip: noBusybox,
}, async () => {
  await using rig = new CliRig('image-ids-plan');
  const image = await loadLayers(rig, [makeTar([{ path: 'a' }]), makeTar([{ path: 'b' }])]);
  await without(rig, ['idmappedLower']);
  const plan = await rig.ok('explain', '--network', 'none', image, 'true');
  assert.match(plan, /Make the root from 2 layers, idmapped/);
  assert.match(plan, /clone\(CLONE_NEWNS.*mount_setattr\(MOUNT_ATTR_IDMAP\), move_mount\) × 2/);
  await without(rig, ['idmappedLower', 'idmappedOverlay']);
  const old = await rig.nsbox(['create', '--network', 'none', image, 'true']);
  assert.equal(old.code, 0, old.stderr);
  assert.match(old.stderr, /^.*no user namespace: overlayfs on this kernel .* takes no idmapped layers.*\n$/);
});
