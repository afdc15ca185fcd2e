/**
 * The names process: `node nsbox-names ROOT STATE`, started by the first command that needs it (client.ts). One for
 * an installation. It answers questions for names on the gateways of user networks and relays published ports where
 * the kernel can't; it reads the records that commands write, decides nothing for them, and ends when no running
 * container needs it. Killed, it is started again by its parent (native/init/supervise.h); that killed, it is told by
 * SIGUSR2, starts another pair and makes room. With both killed at once the next command starts them; until then
 * names don't resolve, and all else goes on.
 */
import { rmSync, watch } from 'node:fs';
import { makeContext, monotonicMs } from '../../base/index.js';
import { nft, processStat } from '../../kernel/index.js';
import { acquireLock, ensureDirectory, writeFileAtomic, writeRecord } from '../../state/index.js';
import { hasNames, hostResolver, reachable } from '../files.js';
import { type NamesPorts, namesPortsFile } from '../firewall.js';
import { kernelNames, settingsDirectory } from '../paths.js';
import { needsRelay, publishes } from '../rules.js';
import { readNetwork } from '../store.js';
import type { NetworkSettings } from '../types.js';
import { answer } from './answer.js';
import { spawnNames } from './client.js';
import { Records } from './records.js';
import { openRelay, type Relay } from './relay.js';
import { type NamesServer, serve } from './server.js';
import { namesLock, namesPid, namesReady } from './state.js';
import { NameTable } from './table.js';

/** Milliseconds between looks at the links: the end of a container writes no record. */
const LOOK = 2000;
/** Milliseconds without any container that needs it, after which it ends. */
const LINGER = 3000;

const [root = '', state = ''] = process.argv.slice(2);
const ctx = makeContext({ root, state });

let table = new NameTable([]);
const servers = new Map<string, NamesServer>();
const relays = new Map<string, Relay>();

const records = new Records(ctx);

function upstreamOf(settings: NetworkSettings): readonly string[] {
  if (settings.dns.length) return settings.dns;
  const network = settings.endpoints.map((e) => readNetwork(ctx, e.network)).find((n) => n?.dns.length);
  return network?.dns ?? reachable(hostResolver());
}

/** What should be listened on for the containers that there are. */
function wanted(all: readonly NetworkSettings[]) {
  const gateways = new Map<string, { address: string; device: string }>();
  const ports = new Map<string, Parameters<typeof openRelay>[0]>();
  for (const settings of all) {
    for (const endpoint of settings.endpoints) {
      if (gateways.has(endpoint.networkId)) continue;
      const address = endpoint.ipv4?.gateway ?? endpoint.ipv6?.gateway;
      const device = hasNames(endpoint) ? readNetwork(ctx, endpoint.network)?.device : undefined;
      if (device && address) gateways.set(endpoint.networkId, { address, device });
    }
    const target = settings.endpoints.find(publishes);
    for (const port of settings.ports) {
      if (!needsRelay(settings, port) || !target || port.protocol === 'sctp') continue;
      ports.set(`${port.protocol}_${port.hostIp}_${port.hostPort}`, {
        hostIp: port.hostIp,
        hostPort: port.hostPort,
        protocol: port.protocol,
        address: target.ipv4?.address ?? target.ipv6?.address ?? '',
        port: port.containerPort,
      });
    }
  }
  return { gateways, ports };
}

const serving = new Map<string, string>();

/** Opens and closes until what is served is what is wanted. */
async function settle(links: boolean): Promise<boolean> {
  const all = records.running(links);
  table = new NameTable(all);
  const { gateways, ports } = wanted(all);
  for (const [id, server] of servers) {
    if (gateways.get(id)?.address === serving.get(id)) continue;
    server.close();
    servers.delete(id);
  }
  for (const [key, relay] of relays) {
    if (serving.get(key) === JSON.stringify(ports.get(key))) continue;
    relay.close();
    relays.delete(key);
  }
  for (const [id, { address }] of gateways) {
    if (servers.has(id)) continue;
    try {
      servers.set(id, await serve(address, ask));
      serving.set(id, address);
    } catch (error) {
      retry(`cannot listen on ${address}`, error);
    }
  }
  for (const [key, target] of ports) {
    if (relays.has(key)) continue;
    try {
      relays.set(key, await openRelay(target));
      serving.set(key, JSON.stringify(target));
    } catch (error) {
      complain(`cannot relay [${target.hostIp}]:${target.hostPort}`, error);
    }
  }
  redirect(gateways);
  const known = all.map((s) => s.containerId);
  const ready = JSON.stringify([self, ...servers.keys(), ...relays.keys(), ...known]);
  if (ready !== written) writeFileAtomic(namesReady(ctx), ready, { durable: false });
  written = ready;
  return gateways.size > 0 || ports.size > 0;
}

/** Who writes: `pid:startTicks`, so that what a killed process left isn't believed. */
const self = `${process.pid}:${processStat(process.pid)?.startTicks ?? '0'}`;

let written = '';
let redirected = '[]';

/** Leads port 53 of a bridge to where we listen, if that is elsewhere. */
function redirect(gateways: Map<string, { device: string }>): void {
  const list: NamesPorts[] = [];
  for (const [id, { device }] of gateways) {
    const server = servers.get(id);
    if (server && server.udpPort !== 53) list.push({ device, protocol: 'udp', port: server.udpPort });
    if (server && server.tcpPort !== 53) list.push({ device, protocol: 'tcp', port: server.tcpPort });
  }
  const text = JSON.stringify(list);
  if (text === redirected) return;
  redirected = text;
  writeRecord(namesPortsFile(ctx), list, { durable: false });
  const map = `inet ${kernelNames(ctx).table} names`;
  const elements = list.map((p) => `add element ${map} { "${p.device}" . ${p.protocol} : ${p.port} }\n`);
  try {
    nft(`flush map ${map}\n${elements.join('')}`);
  } catch (error) {
    complain('cannot lead port 53 here', error);
  }
}

/** The bridge of a network that is just being made has no address yet: soon it has. */
function retry(what: string, error: unknown): void {
  if ((error as NodeJS.ErrnoException).code === 'EADDRNOTAVAIL') setTimeout(() => void look(true), 10);
  else complain(what, error);
}

const ask = async (query: Buffer, from: string, over: 'udp' | 'tcp') => {
  const asker = table.asker(from);
  if (!asker) return undefined; // answers nobody else
  return answer(table, { query, asker, over, upstream: () => upstreamOf(asker) });
};

function complain(what: string, error: unknown): void {
  process.stderr.write(`${new Date().toISOString()} ${what}: ${(error as Error).message}\n`);
}

let working = false;
let again = false;
let idleSince = monotonicMs();

/**
 * Looks at the records, and a second time where they changed meanwhile. Between two looks as much time goes by as one
 * took: questions are answered also while hundreds of containers start.
 * @param links true for a look at the links as well
 */
async function look(links: boolean): Promise<void> {
  if (working) {
    again = true;
    return;
  }
  working = true;
  const began = monotonicMs();
  try {
    again = false;
    if (await settle(links)) idleSince = monotonicMs();
  } catch (error) {
    complain('cannot read the records', error);
  }
  if (monotonicMs() - idleSince > LINGER) end();
  setTimeout(() => {
    working = false;
    if (again) void look(false);
  }, monotonicMs() - began);
}

function end(): void {
  for (const file of [namesReady(ctx), namesPid(ctx), namesPortsFile(ctx)]) rmSync(file, { force: true });
  process.exit(0);
}

async function main(): Promise<void> {
  process.title = `nsbox-names ${state}`;
  ensureDirectory(settingsDirectory(ctx));
  // Held for the life of the process; a command that only looks whether it is held takes it for an instant.
  const lock = await acquireLock(namesLock(ctx), { timeoutMs: 300 }).catch(() => process.exit(0));
  // Before anybody can find us to signal, which would otherwise end us.
  process.on('SIGTERM', end);
  process.on('SIGHUP', () => undefined);
  process.on('SIGUSR2', () => void spawnNames(ctx).finally(() => process.exit(0)));
  writeFileAtomic(namesPid(ctx), self, { durable: false });
  rmSync(namesReady(ctx), { force: true });
  process.on('uncaughtException', (error) => complain('unexpected', error));
  watch(settingsDirectory(ctx), () => void look(false));
  process.once('exit', () => lock[Symbol.dispose]()); // and in sight until then
  setInterval(() => void look(true), LOOK);
  await look(true);
}

void main();
