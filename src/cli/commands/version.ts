import { defineCommand, formatFlag } from '../command.js';
import { printObject } from '../format/list.js';

export const command = defineCommand({
  name: 'version',
  usage: '[OPTIONS]',
  summary: 'Show the nsbox version information',
  options: { format: formatFlag },
  rootless: true,
  async run({ flags }, io) {
    const { versionInfo } = await import('../../engine/info.js');
    const v = versionInfo();
    // Docker's tools read Client and Server: nsbox is both.
    const value = { ...v, Client: v, Server: v };
    printObject(io, value, flags.format, () => {
      const rows: [string, string][] = [
        ['Version', v.Version],
        ['Node version', v.NodeVersion],
        ['OS/Arch', `${v.Os}/${v.Arch}`],
        ['Kernel', v.KernelVersion],
        ['OCI runtime spec', v.OciVersion],
      ];
      return `nsbox\n${rows.map(([name, text]) => ` ${`${name}:`.padEnd(18)} ${text}\n`).join('')}`;
    });
    return 0;
  },
});
