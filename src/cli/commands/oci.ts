import { defineCommand } from '../command.js';

export const command = defineCommand({
  name: 'oci',
  usage: '[ARG...]',
  summary: 'The OCI runtime command line, as bin/nsbox-oci has it',
  args: { min: 0 },
  flagsFirst: true,
  options: {},
  async run({ args }, _io, ctx) {
    const { oci } = await import('../../oci/index.js');
    return oci(args, { ...ctx.env }, ctx.cwd);
  },
});
