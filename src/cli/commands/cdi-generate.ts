import path from 'node:path';
import { InvalidError } from '../../base/index.js';
import { defineCommand } from '../command.js';

export const command = defineCommand({
  name: 'cdi generate',
  usage: '[OPTIONS]',
  summary: "Write a CDI specification of this host's GPUs for other container engines",
  details:
    'podman and containerd read such files from /etc/cdi. nsbox itself needs none: `--gpus` and\n`--device nvidia.com/gpu=0` look at the host afresh at each start. Make the file anew after a driver update.',
  options: {
    output: { type: 'string', short: 'o', value: 'file', help: 'Write to this file instead of the terminal' },
    format: {
      type: 'string',
      value: 'yaml|json',
      help: 'yaml, or json (default: by the name of the file, yaml)',
    },
    vendor: {
      type: 'string',
      value: 'nvidia|amd|intel',
      help: 'Whose GPUs (default: the only vendor that has any)',
    },
  },
  rootless: true,
  async run({ flags }, io, ctx) {
    const { cdiText, driverFiles } = await import('../../devices/index.js');
    const { vendor, output } = flags;
    if (vendor !== undefined && vendor !== 'nvidia' && vendor !== 'amd' && vendor !== 'intel') {
      throw new InvalidError(`unknown vendor "${vendor}": nvidia, amd or intel`);
    }
    const extension = output === undefined ? '' : path.extname(output);
    if (output !== undefined && extension !== '.json' && extension !== '.yaml') {
      throw new InvalidError(`the name of a CDI file ends in .yaml or .json: ${output}`);
    }
    const format = flags.format ?? (extension === '.json' ? 'json' : 'yaml');
    if (format !== 'json' && format !== 'yaml')
      throw new InvalidError(`unknown format "${format}": yaml or json`);
    const text = await cdiText({ vendor, format }, driverFiles(ctx.env['NSBOX_DRIVER_ROOT']));
    if (output === undefined) {
      io.out(text);
      return 0;
    }
    const { ensureDirectory, writeFileAtomic } = await import('../../state/index.js');
    ensureDirectory(path.dirname(path.resolve(ctx.cwd, output)), 0o755);
    writeFileAtomic(path.resolve(ctx.cwd, output), text, { mode: 0o644 });
    return 0;
  },
});
