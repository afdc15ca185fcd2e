import { existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { type Context, InvalidError, NotFoundError, NsboxError } from '../base/index.js';
import { formatAddress, parseCidr } from './address.js';
import { readNetwork } from './store.js';
import type { Endpoint, NetworkRecord, NetworkSettings } from './types.js';

/**
 * Networks that CNI plugins make. A network of the driver `cni` names a configuration list of /etc/cni/net.d
 * (NETCONFPATH moves it); its plugins are looked for in CNI_PATH.
 * @see https://www.cni.dev/docs/spec/ (1.0.0)
 */
export interface ConfigurationList {
  cniVersion: string;
  name: string;
  plugins: PluginConfiguration[];
}

interface PluginConfiguration {
  type: string;
  capabilities?: Record<string, boolean>;
  [key: string]: unknown;
}

interface CniResult {
  ips?: { address: string; gateway?: string }[];
  interfaces?: { name: string; mac?: string; sandbox?: string }[];
  dns?: { nameservers?: string[] };
  [key: string]: unknown;
}

const directoryOf = (ctx: Context) => ctx.env['NETCONFPATH'] ?? '/etc/cni/net.d';
const pathOf = (ctx: Context) => ctx.env['CNI_PATH'] ?? '/opt/cni/bin:/usr/lib/cni:/usr/libexec/cni';

/** The list that a network names with `--opt cni.list=NAME`, or that has its name. @throws NotFoundError, InvalidError */
export function findList(ctx: Context, network: Pick<NetworkRecord, 'name' | 'options'>): ConfigurationList {
  const wanted = network.options['cni.list'] ?? network.name;
  const directory = directoryOf(ctx);
  let files: string[] = [];
  try {
    files = readdirSync(directory)
      .filter((f) => /\.(conflist|conf|json)$/.test(f))
      .sort();
  } catch {
    // None: said below.
  }
  for (const file of files) {
    const full = path.join(directory, file);
    let value: Record<string, unknown>;
    try {
      value = JSON.parse(readFileSync(full, 'utf8')) as Record<string, unknown>;
    } catch (cause) {
      throw new InvalidError(`${full} is not valid JSON`, { cause, path: full });
    }
    if (value['name'] !== wanted) continue;
    const plugins = Array.isArray(value['plugins']) ? value['plugins'] : [value];
    if (!plugins.every((p) => typeof (p as PluginConfiguration)?.type === 'string')) {
      throw new InvalidError(`${full}: every plugin needs a "type"`, { path: full });
    }
    return {
      cniVersion: typeof value['cniVersion'] === 'string' ? value['cniVersion'] : '0.4.0',
      name: wanted,
      plugins: plugins as PluginConfiguration[],
    };
  }
  throw new NotFoundError('network', wanted, {
    hint: `no file of ${directory} has a configuration list of that name; --opt cni.list=NAME chooses another`,
  });
}

/** Runs ADD of each plugin and notes the result in the endpoint. Where one fails, DEL has been run. */
export async function cniAdd(
  ctx: Context,
  network: NetworkRecord,
  settings: NetworkSettings,
  endpoint: Endpoint,
  netns: string,
): Promise<void> {
  const list = findList(ctx, network);
  let result: CniResult | undefined;
  endpoint.cni = { list, result: undefined, netns };
  try {
    for (const plugin of list.plugins) {
      result = (await invoke(ctx, 'ADD', list, plugin, settings, endpoint, netns, result)) as CniResult;
    }
  } catch (error) {
    await cniDelete(ctx, settings, endpoint);
    throw error;
  }
  endpoint.cni = { list, result, netns };
  for (const ip of result?.ips ?? []) {
    const cidr = parseCidr(ip.address, true);
    endpoint[cidr.family === 4 ? 'ipv4' : 'ipv6'] = {
      address: formatAddress(cidr.bytes),
      prefix: cidr.prefix,
      gateway: ip.gateway,
    };
  }
  const own = result?.interfaces?.find((i) => i.sandbox && i.name === endpoint.interface);
  if (own?.mac) endpoint.mac = own.mac;
}

/** Runs DEL of each plugin, last first. A plugin that fails is warned of: what it leaves is its own. */
export async function cniDelete(ctx: Context, settings: NetworkSettings, endpoint: Endpoint): Promise<void> {
  const known = endpoint.cni;
  if (!known) return;
  let list = known.list as ConfigurationList | undefined;
  try {
    const record = readNetwork(ctx, endpoint.network);
    list ??= record && findList(ctx, record);
  } catch {
    // Its configuration was removed.
  }
  const netns = existsSync(known.netns) ? known.netns : '';
  for (const plugin of [...(list?.plugins ?? [])].reverse()) {
    try {
      await invoke(
        ctx,
        'DEL',
        list!,
        plugin,
        settings,
        endpoint,
        netns,
        known.result as CniResult | undefined,
      );
    } catch (error) {
      ctx.warn(`network ${endpoint.network}: ${(error as Error).message}`);
    }
  }
}

async function invoke(
  ctx: Context,
  command: 'ADD' | 'DEL',
  list: ConfigurationList,
  plugin: PluginConfiguration,
  settings: NetworkSettings,
  endpoint: Endpoint,
  netns: string,
  previous: CniResult | undefined,
): Promise<unknown> {
  const search = pathOf(ctx).split(':');
  const program = search.map((d) => path.join(d, plugin.type)).find((f) => existsSync(f));
  if (!program || plugin.type.includes('/')) {
    throw new NsboxError('NETWORK', `cannot find the CNI plugin ${plugin.type} in ${search.join(':')}`, {
      hint: 'Debian and Ubuntu have the usual ones in containernetworking-plugins; CNI_PATH names other directories',
    });
  }
  const runtimeConfig: Record<string, unknown> = {};
  if (plugin.capabilities?.['portMappings'] && settings.ports.length) {
    runtimeConfig['portMappings'] = settings.ports
      .filter((p) => !p.hostIp.includes(':'))
      .map((p) => ({
        hostPort: p.hostPort,
        containerPort: p.containerPort,
        protocol: p.protocol,
        ...(p.hostIp === '0.0.0.0' ? {} : { hostIP: p.hostIp }),
      }));
  }
  const input = JSON.stringify({
    ...plugin,
    cniVersion: list.cniVersion,
    name: list.name,
    ...(Object.keys(runtimeConfig).length ? { runtimeConfig } : {}),
    ...(previous ? { prevResult: previous } : {}),
  });
  mkdirSync('/var/lib/cni', { recursive: true }); // host-local and others keep their state there
  const { spawn } = await import('node:child_process');
  const { code, stdout, stderr } = await new Promise<{ code: number | null; stdout: string; stderr: string }>(
    (resolve, reject) => {
      const child = spawn(program, [], {
        env: {
          PATH: ctx.env['PATH'],
          CNI_COMMAND: command,
          CNI_CONTAINERID: settings.containerId,
          CNI_NETNS: netns,
          CNI_IFNAME: endpoint.interface,
          CNI_PATH: pathOf(ctx),
          CNI_ARGS: 'IgnoreUnknown=1',
        },
      });
      const out: Buffer[] = [];
      const err: Buffer[] = [];
      child.stdout.on('data', (d: Buffer) => out.push(d));
      child.stderr.on('data', (d: Buffer) => err.push(d));
      child.on('error', reject);
      child.on('close', (status) =>
        resolve({
          code: status,
          stdout: Buffer.concat(out).toString(),
          stderr: Buffer.concat(err).toString(),
        }),
      );
      child.stdin.on('error', () => {}); // a plugin that reads nothing
      child.stdin.end(input);
    },
  );
  if (code === 0) return stdout.trim() ? JSON.parse(stdout) : (previous ?? {});
  let reason = stderr.trim();
  try {
    const failure = JSON.parse(stdout) as { msg?: string; details?: string };
    reason = [failure.msg, failure.details].filter(Boolean).join(': ');
  } catch {
    // A plugin that doesn't speak JSON: its stderr is all there is.
  }
  throw new NsboxError(
    'NETWORK',
    `the CNI plugin ${plugin.type} failed to ${command}: ${reason || `exit ${code}`}`,
  );
}
