import { InvalidError } from '../../base/index.js';
import { defineCommand, formatFlag } from '../command.js';
import { forEach } from '../each.js';
import { printInspect } from '../format/list.js';

export const command = defineCommand({
  name: 'network inspect',
  usage: '[OPTIONS] NETWORK [NETWORK...]',
  summary: 'Display detailed information on one or more networks',
  details: `With --graph it draws instead: Graphviz text (\`nsbox network inspect --graph | dot -Tsvg\`), or Mermaid with
--graph=mermaid; without names, every network that is in use.`,
  options: {
    format: formatFlag,
    graph: {
      type: 'string',
      bare: 'dot',
      value: 'dot|mermaid',
      help: 'Draw the networks as text for Graphviz',
    },
    verbose: { type: 'bool', short: 'v', help: 'Verbose output for diagnostics', hidden: true },
  },
  args: { min: 0, max: Number.POSITIVE_INFINITY },
  async run({ flags, args }, io, ctx) {
    const { openNetworks } = await import('../../network/index.js');
    const networks = openNetworks(ctx);
    if (flags.graph !== undefined) {
      if (flags.graph !== 'dot' && flags.graph !== 'mermaid') {
        throw new InvalidError(`invalid --graph: ${flags.graph} (dot or mermaid)`);
      }
      io.out(await networks.graph(args, flags.graph));
      return 0;
    }
    if (args.length === 0) throw new InvalidError('"nsbox network inspect" requires at least 1 argument.');
    const found: unknown[] = [];
    const code = await forEach(
      io,
      args,
      async (name) => found.push(await networks.inspect(name)),
      () => undefined,
    );
    printInspect(io, found, flags.format);
    return code;
  },
});
