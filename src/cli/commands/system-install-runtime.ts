import path from 'node:path';
import { packageRoot } from '../../base/index.js';
import { defineCommand } from '../command.js';

export const command = defineCommand({
  name: 'system install-runtime',
  usage: '[OPTIONS] [ENGINE...]',
  summary: 'Make containerd, CRI-O, podman and Docker know nsbox-oci',
  details:
    'Prints the lines and the file they go into, then writes them. Engines: containerd, crio, podman, docker; without any, those found on this machine.',
  args: { min: 0, max: 4 },
  options: {
    'dry-run': { type: 'bool', help: 'Print only' },
    prefix: { type: 'string', value: 'dir', help: 'Directory that stands for /' },
  },
  async run({ flags, args }, io) {
    const { install, planInstall } = await import('../../oci/index.js');
    const files = planInstall({
      binary: path.join(packageRoot(), 'bin/nsbox-oci'),
      engines: args,
      prefix: flags.prefix,
    });
    if (files.length === 0) {
      io.out('No engine was found here; name one: containerd, crio, podman, docker\n');
      return 1;
    }
    for (const file of files) {
      io.out(`# ${file.path}${file.content === undefined ? ' (has it already)' : ''}\n${file.lines}`);
      io.out(`# next: ${file.next}\n\n`);
    }
    if (!flags['dry-run']) install(files);
    return 0;
  },
});
