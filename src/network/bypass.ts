import type { Context } from '../base/index.js';
import { nft } from '../kernel/index.js';
import { kernelNames } from './paths.js';
import type { NetworkRecord } from './types.js';

/**
 * `--opt firewall=bypass`: traffic of a network that passes our own rules also passes the host's.
 *
 * An accept in one table doesn't keep another from dropping, so the host's own chains have to be told. Our table marks
 * the packets, and one rule at the head of each of the host's forward and input chains accepts what is marked:
 * one rule a chain, whatever the number of networks.
 */

/** Bit of the packet mark. Kubernetes uses 0xc000, Tailscale 0xff0000, Calico's default 0xffff0000 overlaps. */
export const BYPASS_MARK = '0x10000000';

export const bypasses = (network: Pick<NetworkRecord, 'options'>): boolean =>
  network.options['firewall'] === 'bypass';

/** Chains that mark, as part of our table; there only once a network asks. May be added again. Pure. */
export function bypassChains(table: string): string {
  const t = `inet ${table}`;
  const mark = `meta mark set meta mark or ${BYPASS_MARK}`;
  return `add set ${t} bypass { type ifname; }
add chain ${t} bypass_forward { type filter hook forward priority -310; policy accept; }
flush chain ${t} bypass_forward
add rule ${t} bypass_forward iifname @bypass ${mark}
add rule ${t} bypass_forward oifname @bypass ct state established,related ${mark}
add rule ${t} bypass_forward oifname @bypass ct status dnat ${mark}
add chain ${t} bypass_input { type filter hook input priority -310; policy accept; }
flush chain ${t} bypass_input
add rule ${t} bypass_input iifname @bypass ct state established,related ${mark}
add rule ${t} bypass_input iifname @bypass meta l4proto { tcp, udp } ct original proto-dst 53 ${mark}
`;
}

interface Chain {
  family: string;
  table: string;
  name: string;
  hook?: string;
  type?: string;
}

/** The host's chains that may drop what is forwarded, or sent to the host itself. */
function hostChains(): Chain[] {
  const { nftables } = JSON.parse(nft('list chains', { json: true })) as { nftables: { chain?: Chain }[] };
  return nftables
    .flatMap((entry) => entry.chain ?? [])
    .filter((c) => c.type === 'filter' && (c.hook === 'forward' || c.hook === 'input'))
    .filter((c) => ['ip', 'ip6', 'inet'].includes(c.family) && !/^nsbox(-|$)/.test(c.table));
}

/** Handles of our rules in one of the host's chains. */
function ourHandles(at: string, comment: string): number[] {
  const text = nft(`list chain ${at}`, { json: true, handles: true });
  const { nftables } = JSON.parse(text) as {
    nftables: { rule?: { handle: number; comment?: string } }[];
  };
  return nftables.flatMap(({ rule }) => (rule?.comment === comment ? [rule.handle] : []));
}

/**
 * Puts our rule at the head of each of the host's forward and input chains, or takes it out again. Call it under the
 * shared lock. Rules of iptables-legacy, which nftables doesn't show, are not reached.
 */
export function setBypass(ctx: Context, wanted: boolean): void {
  const comment = kernelNames(ctx).table;
  const commands: string[] = [];
  for (const chain of hostChains()) {
    const at = `${chain.family} ${chain.table} ${chain.name}`;
    let handles: number[];
    try {
      handles = ourHandles(at, comment);
    } catch (error) {
      // A word of nft's own language: only other programs can make such a name.
      ctx.warn(`the host's firewall is not opened in its chain ${at}: ${(error as Error).message}`);
      continue;
    }
    if (wanted && handles.length === 0) {
      commands.push(
        `insert rule ${at} meta mark & ${BYPASS_MARK} == ${BYPASS_MARK} accept comment "${comment}"\n`,
      );
    }
    if (!wanted) for (const handle of handles) commands.push(`delete rule ${at} handle ${handle}\n`);
  }
  if (commands.length > 0) nft(commands.join(''));
}
