import { InvalidError, NsboxError } from '../../base/index.js';
import { defineCommand } from '../command.js';

export const command = defineCommand({
  name: 'port',
  aliases: ['container port'],
  usage: 'CONTAINER [PRIVATE_PORT[/PROTO]]',
  summary: 'List port mappings or a specific mapping for the container',
  options: {},
  args: { min: 1, max: 2 },
  async run({ args }, io, ctx) {
    const { findContainer, isUp, stateOf } = await import('../../engine/index.js');
    const { openNetworks } = await import('../../network/index.js');
    const record = findContainer(ctx, args[0]!);
    const settings = isUp(stateOf(ctx, record)) ? openNetworks(ctx).settings(record.id) : undefined;
    const ports = settings?.ports ?? [];
    const host = (p: (typeof ports)[number]) =>
      `${p.hostIp.includes(':') ? `[${p.hostIp}]` : p.hostIp}:${p.hostPort}`;
    if (args[1] === undefined) {
      for (const p of ports) io.out(`${p.containerPort}/${p.protocol} -> ${host(p)}\n`);
      return 0;
    }
    const match = /^(\d{1,5})(?:\/(tcp|udp|sctp))?$/.exec(args[1]);
    if (!match) throw new InvalidError(`invalid port: ${args[1]} (expected PORT or PORT/PROTO)`);
    const protocol = match[2] ?? 'tcp';
    const found = ports.filter((p) => p.containerPort === Number(match[1]) && p.protocol === protocol);
    if (found.length === 0) {
      throw new NsboxError('NOT_FOUND', `no public port '${match[1]}/${protocol}' published for ${args[0]}`);
    }
    for (const p of found) io.out(`${host(p)}\n`);
    return 0;
  },
});
