import { ConflictError, type Context, InvalidError, NsboxError, newId } from '../base/index.js';
import { Netlink } from '../kernel/index.js';
import {
  bounds,
  contains,
  formatAddress,
  formatCidr,
  overlaps,
  parseAddress,
  parseCidr,
  toBytes,
} from './address.js';
import { hasBridge } from './bridge.js';
import { kernelNames } from './paths.js';
import { freeSubnet, routedBlocks, uniqueLocalSubnet } from './pools.js';
import { addNetwork, checkName, defaultBridge, listNetworks, lockNetworks, readNetwork } from './store.js';
import type { CreateNetworkOptions, NetworkDriver, NetworkRecord, SubnetRecord } from './types.js';
import { checkDirectOptions } from './wire.js';

const DRIVERS: readonly string[] = ['bridge', 'macvlan', 'ipvlan', 'vxlan', 'cni'];
const RESERVED = ['bridge', 'host', 'none', 'default', 'container'];

/** As Go's strconv.ParseBool reads it, which Docker uses. */
const BOOLEAN = /^(1|0|t|f|true|false)$/i;

/** Options that mean something, by driver; others are refused rather than ignored. */
const OPTIONS: Record<string, RegExp> = {
  mtu: /^\d+$/,
  'com.docker.network.driver.mtu': /^\d+$/,
  'com.docker.network.bridge.name': /^[a-zA-Z0-9_.-]{1,15}$/,
  'com.docker.network.bridge.enable_ip_masquerade': BOOLEAN,
  'com.docker.network.bridge.enable_icc': BOOLEAN,
  'com.docker.network.bridge.host_binding_ipv4': /^\d+\.\d+\.\d+\.\d+$/,
  firewall: /^(host|bypass)$/,
  parent: /^[a-zA-Z0-9_.-]{1,15}$/,
  macvlan_mode: /./,
  ipvlan_mode: /./,
  'vxlan.id': /^\d{1,8}$/,
  'vxlan.port': /^\d{1,5}$/,
  'vxlan.local': /^[0-9a-fA-F.:]+$/,
  'cni.list': /^[a-zA-Z0-9_.-]+$/,
};

/**
 * Makes a network's record. Its bridge comes up with its first container.
 * @throws ConflictError for a name in use; InvalidError for options and subnets that can't be
 */
export async function createNetwork(ctx: Context, options: CreateNetworkOptions): Promise<NetworkRecord> {
  checkName(options.name);
  const driver = options.driver || 'bridge';
  if (!DRIVERS.includes(driver)) {
    throw new InvalidError(
      `unknown network driver ${JSON.stringify(driver)}: expected one of ${DRIVERS.join(', ')}`,
    );
  }
  if (RESERVED.includes(options.name)) {
    throw new InvalidError(`operation is not permitted on predefined ${options.name} network`);
  }
  checkOptions(options.options ?? {});
  const id = newId();
  const names = kernelNames(ctx);
  const record: NetworkRecord = {
    version: 1,
    id,
    name: options.name,
    driver: driver as NetworkDriver,
    created: new Date().toISOString(),
    subnets: [],
    ipv6: options.ipv6 ?? false,
    internal: options.internal ?? false,
    options: options.options ?? {},
    labels: options.labels ?? {},
    dns: (options.dns ?? []).map((d) => formatAddress(parseAddress(d))),
    peers: (options.peers ?? []).map((p) => formatAddress(parseAddress(p))),
    device: '',
    builtin: false,
  };
  if (hasBridge(record)) {
    record.device =
      record.options['com.docker.network.bridge.name'] ??
      `${names.prefix}${id.slice(0, 15 - names.prefix.length)}`.slice(0, 15);
  } else if (driver !== 'cni') checkDirectOptions(record);
  if (driver === 'cni') await checkCni(ctx, record);
  if (driver === 'vxlan') checkVxlan(record, options);
  else if (record.peers.length) throw new InvalidError('--peer belongs to the driver vxlan');

  using _lock = await lockNetworks(ctx);
  if (readNetwork(ctx, record.name)) {
    throw new ConflictError(`network with name ${record.name} already exists`);
  }
  if (driver !== 'cni') record.subnets = chooseSubnets(ctx, record, options);
  addNetwork(ctx, record);
  return record;
}

/** The default bridge's record, made when it is first needed. */
export async function ensureDefaultBridge(ctx: Context): Promise<NetworkRecord> {
  const there = readNetwork(ctx, 'bridge');
  if (there) return there;
  using _lock = await lockNetworks(ctx);
  const meanwhile = readNetwork(ctx, 'bridge');
  if (meanwhile) return meanwhile;
  const record = defaultBridge(ctx);
  record.subnets = chooseSubnets(ctx, record, { name: 'bridge' });
  addNetwork(ctx, record);
  return record;
}

function checkOptions(options: Record<string, string>): void {
  for (const [key, value] of Object.entries(options)) {
    const allowed = OPTIONS[key];
    if (!allowed) {
      throw new InvalidError(`unknown network option ${JSON.stringify(key)} (--opt)`, {
        hint: `known: ${Object.keys(OPTIONS).join(', ')}`,
      });
    }
    if (!allowed.test(value))
      throw new InvalidError(`invalid value for --opt ${key}: ${JSON.stringify(value)}`);
  }
  const mtu = options['mtu'] ?? options['com.docker.network.driver.mtu'];
  if (mtu && (Number(mtu) < 68 || Number(mtu) > 65535)) {
    throw new InvalidError(`invalid value for --opt mtu: ${mtu} (68 to 65535 bytes)`);
  }
}

function checkVxlan(record: NetworkRecord, options: CreateNetworkOptions): void {
  if (record.peers.length === 0 && !record.options['vxlan.local']) {
    throw new InvalidError('a vxlan network needs the addresses of the other hosts: --peer ADDRESS');
  }
  const first = options.subnets?.[0];
  if (!first?.subnet || !first.ipRange) {
    throw new InvalidError(
      'a vxlan network needs --subnet, the same on every host, and --ip-range, another part of it on each',
      { hint: 'as in `--subnet 10.5.0.0/16 --ip-range 10.5.1.0/24` here and `--ip-range 10.5.2.0/24` there' },
    );
  }
}

async function checkCni(ctx: Context, record: NetworkRecord): Promise<void> {
  const { findList } = await import('./cni.js');
  findList(ctx, record);
}

function chooseSubnets(ctx: Context, record: NetworkRecord, options: CreateNetworkOptions): SubnetRecord[] {
  using host = new Netlink();
  const others = listNetworks(ctx)
    .filter((n) => n.id !== record.id)
    .flatMap((n) => n.subnets.map((s) => ({ cidr: parseCidr(s.subnet), owner: n })));
  const routed = hasBridge(record) ? routedBlocks(host) : [];
  const asked = (options.subnets ?? []).map((s) => checkSubnet(record, s));
  for (const subnet of asked) {
    const cidr = parseCidr(subnet.subnet);
    const other = hasBridge(record) && others.find((o) => overlaps(o.cidr, cidr) && hasBridge(o.owner));
    if (other) {
      throw new NsboxError(
        'CONFLICT',
        `the subnet ${subnet.subnet} overlaps that of network ${other.owner.name} (${formatCidr(other.cidr)})`,
      );
    }
    const route = routed.find((r) => overlaps(r, cidr));
    if (route) {
      throw new NsboxError(
        'CONFLICT',
        `the subnet ${subnet.subnet} overlaps ${formatCidr(route)}, to which this host has a route`,
      );
    }
  }
  const out = [...asked];
  const has = (v: 4 | 6) => out.some((s) => parseCidr(s.subnet).family === v);
  if (!has(4) && options.ipv4 !== false) {
    out.unshift(
      withGateway(record, { subnet: freeSubnet([...routed, ...others.map((o) => o.cidr)], record.builtin) }),
    );
  }
  if (record.ipv6 && !has(6)) {
    out.push(withGateway(record, { subnet: uniqueLocalSubnet(record.id) }));
  }
  if (has(6) && !record.ipv6) {
    throw new InvalidError('an IPv6 subnet needs --ipv6');
  }
  if (out.length === 0) throw new InvalidError('a network needs IPv4 or IPv6');
  return out;
}

function checkSubnet(record: NetworkRecord, asked: SubnetRecord): SubnetRecord {
  if (!asked.subnet) throw new InvalidError('--gateway and --ip-range need a --subnet');
  const block = parseCidr(asked.subnet);
  const tooSmall = block.prefix > block.bytes.length * 8 - 2 && hasBridge(record);
  if (tooSmall)
    throw new InvalidError(`the subnet ${asked.subnet} has no room for a gateway and a container`);
  const within = (what: string, text: string) => {
    if (!contains(block, parseAddress(text))) {
      throw new InvalidError(`invalid ${what}: ${text} is not in the subnet ${asked.subnet}`);
    }
  };
  if (asked.gateway) within('--gateway', asked.gateway);
  for (const address of Object.values(asked.aux ?? {})) within('--aux-address', address);
  const out: SubnetRecord = { ...asked, subnet: formatCidr(block) };
  if (asked.ipRange) {
    const range = parseCidr(asked.ipRange, true);
    const { first, last } = bounds(range);
    const length = range.bytes.length;
    within('--ip-range', formatAddress(toBytes(first, length)));
    within('--ip-range', formatAddress(toBytes(last, length)));
    out.ipRange = formatCidr({ ...range, bytes: toBytes(first, length) });
  }
  return withGateway(record, out);
}

/** Docker's choice: the first address of the range, or of the subnet. */
function withGateway(record: NetworkRecord, subnet: SubnetRecord): SubnetRecord {
  if (subnet.gateway) return { ...subnet, gateway: formatAddress(parseAddress(subnet.gateway)) };
  if (record.driver === 'ipvlan' && record.options['ipvlan_mode']?.startsWith('l3')) return subnet;
  const block = parseCidr(subnet.ipRange ?? subnet.subnet, true);
  const all = bounds(parseCidr(subnet.subnet));
  const { first } = bounds(block);
  const at = first === all.first || record.driver === 'vxlan' ? first + 1n : all.first + 1n;
  return { ...subnet, gateway: formatAddress(toBytes(at, block.bytes.length)) };
}
