import path from 'node:path';
import type { Context } from '../../base/index.js';

/** What people set about registries: environment variables, and flags of one command. */

/** A connection that says nothing for this long is given up: a minute, or NSBOX_REGISTRY_TIMEOUT seconds. */
export function silenceMs(ctx: Context): number {
  const own = Number(ctx.env['NSBOX_REGISTRY_TIMEOUT']);
  return own > 0 ? own * 1000 : 60_000;
}
/** localhost, 127.0.0.0/8, ::1: registries there may speak plain HTTP. */
export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || /^127\.\d+\.\d+\.\d+$/.test(hostname) || hostname === '[::1]';
}

/**
 * Whether a list in NO_PROXY has a URL's host, as Go's programs read it: a name with all names below it, an address, a
 * range of addresses (`10.0.0.0/8`), each with or without a port; `*` for all.
 */
export async function withoutProxy(list: string, url: URL): Promise<boolean> {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  for (const entry of list.split(',').map((s) => s.trim().toLowerCase())) {
    if (entry === '') continue;
    if (entry === '*') return true;
    const range = /^([0-9a-f:.]+)\/(\d+)$/.exec(entry);
    if (range) {
      if (await inRange(host, range[1]!, Number(range[2]))) return true;
      continue;
    }
    const [, name = entry, only] = /^(\[[^\]]*\]|[^:]*):(\d+)$/.exec(entry) ?? [];
    if (only !== undefined && only !== port) continue;
    const bare = name.replace(/^\[|\]$/g, '').replace(/^\*?\./, '');
    if (host === bare || host.endsWith(`.${bare}`)) return true;
  }
  return false;
}

async function inRange(host: string, net: string, bits: number): Promise<boolean> {
  const { BlockList, isIP } = await import('node:net');
  const family = isIP(net);
  if (family === 0 || isIP(host) !== family || bits > (family === 4 ? 32 : 128)) return false;
  const type = family === 4 ? 'ipv4' : 'ipv6';
  const range = new BlockList();
  range.addSubnet(net, bits, type);
  return range.check(host, type);
}

/** Hosts in NSBOX_INSECURE_REGISTRIES (`a:5000,b`; `*`: all): plain HTTP and any certificate. */
export function isInsecure(ctx: Context, host: string): boolean {
  return (ctx.env['NSBOX_INSECURE_REGISTRIES'] ?? '').split(',').some((s) => ['*', host].includes(s.trim()));
}

/**
 * A context in which registries are spoken to as a command's flags say.
 * @param flags tlsVerify: false as `--tls-verify=false`; certDir: a directory as certs.d has one for each host
 */
export function withRegistryFlags(
  ctx: Context,
  flags: { tlsVerify?: boolean | undefined; certDir?: string | undefined },
): Context {
  const env = { ...ctx.env };
  if (flags.tlsVerify === false) env['NSBOX_INSECURE_REGISTRIES'] = '*';
  if (flags.tlsVerify === true) delete env['NSBOX_INSECURE_REGISTRIES'];
  if (flags.certDir !== undefined) env['NSBOX_CERT_DIR'] = path.resolve(ctx.cwd, flags.certDir);
  return { ...ctx, env };
}

/** URLs of a registry's mirrors, from NSBOX_REGISTRY_MIRRORS: `docker.io=https://mirror.example,…`. */
export function mirrorsOf(ctx: Context, domain: string): string[] {
  return (ctx.env['NSBOX_REGISTRY_MIRRORS'] ?? '').split(',').flatMap((entry) => {
    const [from, to] = entry.trim().split('=');
    if (from !== domain || !to) return [];
    return [/^https?:\/\//.test(to) ? to : `https://${to}`];
  });
}
