import { defineCommand } from '../command.js';
import { printList } from '../format/list.js';

export const command = defineCommand({
  name: 'cdi list',
  aliases: ['cdi ls'],
  usage: '[OPTIONS]',
  summary: 'List the devices of the Container Device Interface',
  details:
    'Reads the *.json and *.yaml files of /etc/cdi and /var/run/cdi. A device is given to a container with\n`--device VENDOR/CLASS=NAME`. GPUs that no file describes are listed too: nsbox finds them by itself.',
  options: {
    format: {
      type: 'string',
      help: "Format output using a custom template: 'table', 'table TEMPLATE', 'json' or a Go template",
    },
    quiet: { type: 'bool', short: 'q', help: 'Only display names' },
    'spec-dir': { type: 'list', value: 'dir', help: 'Directories to read instead, of rising priority' },
  },
  rootless: true,
  async run({ flags }, io, ctx) {
    const { cdiDevices, driverFiles } = await import('../../devices/index.js');
    const directories = flags['spec-dir'].length > 0 ? flags['spec-dir'] : undefined;
    const { devices, problems } = await cdiDevices(directories, driverFiles(ctx.env['NSBOX_DRIVER_ROOT']));
    printList(
      io,
      devices.map((d) => ({
        Name: d.name,
        File: d.file ?? '(found on this host)',
        Version: d.version ?? '',
      })),
      {
        headings: { Name: 'NAME', File: 'FILE', Version: 'CDI VERSION' },
        table: '{{.Name}}\t{{.File}}',
        quiet: 'Name',
      },
      { format: flags.format, quiet: flags.quiet },
    );
    for (const problem of problems) ctx.warn(problem);
    return 0;
  },
});
