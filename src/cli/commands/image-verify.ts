import { shortId } from '../../base/index.js';
import { defineCommand } from '../command.js';

export const command = defineCommand({
  name: 'image verify',
  usage: '[OPTIONS] [IMAGE...]',
  summary: 'Read blobs and unpacked layers again and compare them with their digests',
  options: {
    repair: { type: 'bool', help: 'Pull damaged blobs and unpack damaged layers again' },
  },
  args: { max: Number.POSITIVE_INFINITY },
  async run({ flags, args }, io, ctx) {
    const [{ openImageStore }, { runningImageUser }] = await Promise.all([
      import('../../image/index.js'),
      import('../../engine/index.js'),
    ]);
    const { blobs, layers, damages } = await openImageStore(ctx).verify(args, {
      repair: flags.repair,
      running: runningImageUser(ctx),
    });
    for (const d of damages) io.out(`${shortId(d.what)}: ${d.why}${d.repaired ? ' (repaired)' : ''}\n`);
    io.out(
      `Verified ${blobs} blobs and ${layers} layers: ${damages.length === 0 ? 'all good' : `${damages.length} damaged`}\n`,
    );
    return damages.every((d) => d.repaired) ? 0 : 1;
  },
});
