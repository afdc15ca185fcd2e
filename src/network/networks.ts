import { rmSync } from 'node:fs';
import { ConflictError, type Context, InvalidError, NotFoundError, newId } from '../base/index.js';
import { getLink, listLinks, Netlink, nft, nftTableExists } from '../kernel/index.js';
import type { NetworkRequest, PortRequest } from '../spec/index.js';
import { acquireLock } from '../state/index.js';
import { macFor, parseAddress, parseCidr } from './address.js';
import { hasBridge, removeBridge, repickSubnet } from './bridge.js';
import { bypasses, setBypass } from './bypass.js';
import { claims, containerOf, names, ownerOf, preparerLives, unclaim } from './claims.js';
import { createNetwork, ensureDefaultBridge } from './create.js';
import { hasNames, type NetworkFiles, networkFiles } from './files.js';
import { publishPorts, rebuildRules, withdrawPorts } from './firewall.js';
import { leaseAddress } from './leases.js';
import { needsNames, startNames, waitForNames } from './names/client.js';
import { kernelNames, leasesDirectory, portsDirectory, sharedLock, stateDirectory } from './paths.js';
import { claimPorts, releasePorts } from './ports.js';
import { networkElements } from './rules.js';
import {
  hasEnded,
  listSettings,
  markWired,
  readSettings,
  removeSettings,
  renameSettings,
  settingsIds,
  writeSettings,
} from './settings.js';
import { addNetwork, deleteNetwork, findNetwork, listNetworks, lockNetworks, readNetwork } from './store.js';
import type {
  CreateNetworkOptions,
  Endpoint,
  NetworkRecord,
  NetworkSettings,
  PortBinding,
  PrepareOptions,
} from './types.js';
import { removeParent, setDefaultRoute, unwire, wire } from './wire.js';

/** Networks of one installation. See docs/networks.md. */
export class Networks {
  readonly #ctx: Context;

  constructor(ctx: Context) {
    this.#ctx = ctx;
  }

  /**
   * Gives a container addresses and host ports; nothing of the kernel changes yet. Called again for the same container
   * it keeps the addresses it had.
   * @throws NotFoundError for a network, ConflictError for an address or port in use, InvalidError
   */
  async prepare(options: PrepareOptions): Promise<NetworkSettings> {
    const { containerId } = options;
    const requests = options.requests.length ? options.requests : [{ network: 'bridge' }];
    const settings: NetworkSettings = {
      version: 1,
      containerId,
      containerName: options.containerName,
      hostname: options.hostname,
      domainname: options.domainname,
      mode: 'networks',
      endpoints: [],
      ports: [],
      exposed: options.exposed ?? [],
      extraHosts: options.extraHosts ?? [],
      dns: options.dns ?? [],
      dnsSearch: options.dnsSearch ?? [],
      dnsOptions: options.dnsOptions ?? [],
      names: false,
    };
    const alone = requests[0]!.network;
    if (alone === 'none' || alone === 'host') return { ...settings, mode: alone };
    if (alone.startsWith('container:')) return { ...settings, mode: 'container', joined: alone.slice(10) };

    const before = readSettings(this.#ctx, containerId);
    if (before) await this.release(containerId);
    try {
      for (const request of requests) {
        settings.endpoints.push(await this.#lease(settings, request, before));
      }
      settings.names = settings.endpoints.some(hasNames);
      settings.ports = this.#claimPorts(containerId, this.#portRequests(options, settings));
    } catch (error) {
      this.#drop(settings);
      throw error;
    }
    // Its start-up goes on beside the launch.
    if (needsNames(settings)) await startNames(this.#ctx);
    return settings;
  }

  /** Host ports; where one is held by a container that has ended unseen, that container gives it up. */
  #claimPorts(containerId: string, requests: PortRequest[]): PortBinding[] {
    try {
      return claimPorts(this.#ctx, containerId, requests);
    } catch (error) {
      if (!(error instanceof ConflictError) || this.#releaseEnded() === 0) throw error;
      return claimPorts(this.#ctx, containerId, requests);
    }
  }

  /**
   * Releases what containers hold whose links are gone: they ended while no command looked on.
   * @returns how many
   */
  #releaseEnded(): number {
    using host = new Netlink();
    const links = new Set(listLinks(host).map((l) => l.name));
    const ended = listSettings(this.#ctx).filter((s) => hasEnded(this.#ctx, s, links));
    for (const settings of ended) this.#drop(settings);
    return ended.length;
  }

  #portRequests(options: PrepareOptions, settings: NetworkSettings): PortRequest[] {
    const ports = [...(options.ports ?? [])];
    if (options.publishAll) {
      for (const text of options.exposed ?? []) {
        const [port, protocol = 'tcp'] = text.split('/');
        const containerPort = Number(port);
        if (ports.some((p) => p.containerPort === containerPort && p.protocol === protocol)) continue;
        ports.push({ containerPort, protocol: protocol as PortRequest['protocol'] });
      }
    }
    const network = settings.endpoints[0] && readNetwork(this.#ctx, settings.endpoints[0].network);
    const binding = network?.options['com.docker.network.bridge.host_binding_ipv4'];
    return binding ? ports.map((p) => ({ ...p, hostIp: p.hostIp ?? binding })) : ports;
  }

  async #lease(
    settings: NetworkSettings,
    request: NetworkRequest,
    before: NetworkSettings | undefined,
  ): Promise<Endpoint> {
    const network =
      request.network === 'bridge' ? await this.#defaultBridge() : findNetwork(this.#ctx, request.network);
    if (network.driver === 'host' || network.driver === 'none') {
      throw new InvalidError(`network ${network.name} cannot be combined with others`);
    }
    const { containerId } = settings;
    const index = settings.endpoints.length;
    const old = before?.endpoints.find((e) => e.networkId === network.id);
    const endpoint: Endpoint = {
      network: network.name,
      networkId: network.id,
      driver: network.driver,
      endpointId: newId(),
      interface: `eth${freeIndex(settings.endpoints, index)}`,
      hostInterface: hasBridge(network)
        ? `v${containerId.slice(0, 9)}-${freeIndex(settings.endpoints, index)}`
        : '',
      mac: request.mac ?? '',
      aliases: request.aliases ?? [],
      internal: network.internal,
    };
    for (const [wanted, family] of [
      [request.ip, 4],
      [request.ip6, 6],
    ] as const) {
      if (wanted && !network.subnets.some((s) => parseCidr(s.subnet).family === family)) {
        throw new InvalidError(
          `network ${network.name} has no IPv${family} subnet for the address ${wanted}`,
        );
      }
    }
    for (const subnet of network.subnets) {
      const { family, prefix } = parseCidr(subnet.subnet);
      const key = family === 4 ? 'ipv4' : 'ipv6';
      if (endpoint[key]) continue;
      const wanted = family === 4 ? request.ip : request.ip6;
      const address = this.#leaseOne(network, subnet, containerId, wanted, old?.[key]?.address);
      const gateway = network.internal && hasBridge(network) ? undefined : subnet.gateway;
      endpoint[key] = {
        address,
        prefix,
        gateway: gateway ?? (hasNames(endpoint) ? subnet.gateway : undefined),
      };
    }
    const first = endpoint.ipv4?.address ?? endpoint.ipv6?.address;
    if (!endpoint.mac && first) endpoint.mac = macFor(parseAddress(first));
    // Removed while we took its address? `remove` deletes the record before it looks for leases, so one of us sees.
    if (!network.builtin && readNetwork(this.#ctx, network.name)?.id !== network.id) {
      this.#unlease(network.id, containerId);
      throw new NotFoundError('network', request.network);
    }
    return endpoint;
  }

  async #defaultBridge(): Promise<NetworkRecord> {
    const network = await ensureDefaultBridge(this.#ctx);
    if (names(leasesDirectory(this.#ctx, network.id)).some((n) => !n.startsWith('.'))) return network;
    return repickSubnet(this.#ctx, network);
  }

  #leaseOne(
    network: NetworkRecord,
    subnet: NetworkRecord['subnets'][number],
    containerId: string,
    wanted: string | undefined,
    old: string | undefined,
  ): string {
    if (!wanted && old) {
      try {
        return leaseAddress(this.#ctx, network, subnet, containerId, old);
      } catch {
        // Taken meanwhile: another will do.
      }
    }
    try {
      return leaseAddress(this.#ctx, network, subnet, containerId, wanted);
    } catch (error) {
      if (error instanceof InvalidError || this.#releaseEnded() === 0) throw error;
      return leaseAddress(this.#ctx, network, subnet, containerId, wanted);
    }
  }

  /**
   * Wires a container's network namespace between clone and exec: links, addresses, routes, ports.
   * @param netns path such as /proc/PID/ns/net
   * @throws NsboxError NETWORK; what was made goes with the namespace
   */
  async connect(settings: NetworkSettings, netns: string): Promise<void> {
    if (settings.mode !== 'networks') return;
    const ctx = this.#ctx;
    // Written down before it is made. Until now the claims alone told that the container holds something.
    writeSettings(ctx, settings);
    const plain = settings.endpoints.filter((e) => e.driver !== 'cni');
    await wire(ctx, this.#withRecords(plain), netns, defaultRouteOf(settings), settings.ports.length > 0);
    markWired(ctx, settings.containerId);
    for (const endpoint of settings.endpoints) {
      if (endpoint.driver !== 'cni') continue;
      const { cniAdd } = await import('./cni.js');
      settings.netns = netns;
      // Written first, so that a crash between leads to DEL.
      endpoint.cni = { list: undefined, result: undefined, netns };
      writeSettings(ctx, settings);
      await cniAdd(ctx, findNetwork(ctx, endpoint.networkId), settings, endpoint, netns);
      writeSettings(ctx, settings);
    }
    if (settings.ports.length > 0) {
      using host = new Netlink();
      publishPorts(ctx, settings, host);
    }
    if (needsNames(settings)) await waitForNames(ctx, settings);
  }

  #withRecords(endpoints: readonly Endpoint[]) {
    return endpoints.map((endpoint) => {
      const network = readNetwork(this.#ctx, endpoint.network);
      if (network?.id !== endpoint.networkId) throw new NotFoundError('network', endpoint.network);
      return { endpoint, network };
    });
  }

  /** Texts of the container's /etc/hosts, /etc/resolv.conf and /etc/hostname. */
  files(settings: NetworkSettings): NetworkFiles {
    const own = settings.endpoints.find((e) => hasBridge(e) && e.ipv4?.gateway)?.ipv4?.gateway;
    const needed = settings.extraHosts.some((h) => h.endsWith(':host-gateway'));
    return networkFiles(
      settings,
      own ?? (needed ? readNetwork(this.#ctx, 'bridge')?.subnets[0]?.gateway : undefined),
    );
  }

  /** Gives back what a container holds. Its links go with its namespace. Nothing happens where it holds nothing. */
  async release(containerId: string): Promise<void> {
    const settings = readSettings(this.#ctx, containerId);
    if (!settings) {
      this.#sweepClaims((id) => id === containerId);
      return;
    }
    for (const endpoint of settings.endpoints) {
      if (!endpoint.cni) continue;
      const { cniDelete } = await import('./cni.js');
      await cniDelete(this.#ctx, settings, endpoint);
    }
    this.#drop(settings);
  }

  #drop(settings: NetworkSettings): void {
    removeSettings(this.#ctx, settings.containerId);
    if (settings.ports.length > 0) {
      using host = new Netlink();
      withdrawPorts(this.#ctx, settings, host);
      releasePorts(this.#ctx, settings.containerId);
    }
    for (const endpoint of settings.endpoints) this.#unlease(endpoint.networkId, settings.containerId);
  }

  #unlease(networkId: string, containerId: string): void {
    const directory = leasesDirectory(this.#ctx, networkId);
    const settings = names(directory);
    for (const name of settings) {
      if (!name.startsWith('.')) unclaim(directory, name, containerId);
    }
  }

  /**
   * Undoes what has no owner: of containers that don't run, whose preparing process has ended.
   * @param live ids of the containers that run
   */
  async recover(live: ReadonlySet<string>): Promise<void> {
    const dead = new Set<string>();
    const held = new Set<string>();
    const look = (directory: string, leases: boolean) => {
      for (const [name, owner] of claims(directory)) {
        if (name.startsWith('.')) continue;
        const id = containerOf(owner);
        if (preparerLives(owner)) held.add(id);
        else if (live.has(id)) {
          held.add(id);
          // An address that its record doesn't know: a connect was killed between the two.
          if (leases && !this.#knows(id, name)) unclaim(directory, name, id);
        } else dead.add(id);
      }
    };
    for (const id of names(`${stateDirectory(this.#ctx)}/leases`)) look(leasesDirectory(this.#ctx, id), true);
    look(portsDirectory(this.#ctx), false);
    for (const id of settingsIds(this.#ctx)) if (!live.has(id) && !held.has(id)) dead.add(id);
    for (const id of dead) if (!held.has(id)) await this.release(id);
    if (settingsIds(this.#ctx).length > 0) this.#releaseEnded();
    if (listSettings(this.#ctx).some(needsNames)) await startNames(this.#ctx);
  }

  #knows(containerId: string, address: string): boolean {
    const endpoints = readSettings(this.#ctx, containerId)?.endpoints ?? [];
    return endpoints.some((e) => e.ipv4?.address === address || e.ipv6?.address === address);
  }

  #sweepClaims(mine: (containerId: string) => boolean): void {
    const directories = names(`${stateDirectory(this.#ctx)}/leases`).map((id) =>
      leasesDirectory(this.#ctx, id),
    );
    for (const directory of [...directories, portsDirectory(this.#ctx)]) {
      for (const [name, owner] of claims(directory)) {
        const id = containerOf(owner);
        if (mine(id)) unclaim(directory, name, id);
      }
    }
  }

  /** What a container holds now; undefined where it holds nothing. */
  settings(containerId: string): NetworkSettings | undefined {
    return readSettings(this.#ctx, containerId);
  }

  /** The container's name on its networks follows `rename`. */
  rename(containerId: string, name: string): void {
    renameSettings(this.#ctx, containerId, name);
  }

  allSettings(): NetworkSettings[] {
    return listSettings(this.#ctx);
  }

  // ---- networks ----

  create(options: CreateNetworkOptions): Promise<NetworkRecord> {
    return createNetwork(this.#ctx, options);
  }

  /** Every network by name, the built-in ones among them. */
  async list(): Promise<NetworkRecord[]> {
    await ensureDefaultBridge(this.#ctx);
    return listNetworks(this.#ctx);
  }

  /** By name, id or beginning of an id. @throws NotFoundError */
  async get(reference: string): Promise<NetworkRecord> {
    if (reference === 'bridge') return ensureDefaultBridge(this.#ctx);
    return findNetwork(this.#ctx, reference);
  }

  /** Endpoints on a network, with the containers they are of. */
  endpointsOn(networkId: string): { settings: NetworkSettings; endpoint: Endpoint }[] {
    return listSettings(this.#ctx).flatMap((settings) => {
      const endpoint = settings.endpoints.find((e) => e.networkId === networkId);
      return endpoint ? [{ settings, endpoint }] : [];
    });
  }

  /** A network in the shape of Docker's `network inspect`. @throws NotFoundError */
  async inspect(reference: string): Promise<object> {
    const { inspectNetwork } = await import('./inspect.js');
    const network = await this.get(reference);
    return inspectNetwork(network, this.endpointsOn(network.id));
  }

  /** A drawing of networks: Graphviz or Mermaid text. Without names: all that have containers. */
  async graph(references: readonly string[], format: 'dot' | 'mermaid'): Promise<string> {
    const { drawNetworks } = await import('./graph.js');
    const all = references.length
      ? await Promise.all(references.map((r) => this.get(r)))
      : (await this.list()).filter((n) => hasBridge(n) || this.endpointsOn(n.id).length > 0);
    return drawNetworks(
      all.map((network) => ({ network, members: this.endpointsOn(network.id) })),
      format,
    );
  }

  /**
   * Removes a network, its bridge and rules.
   * @throws ConflictError while containers are on it, InvalidError for a built-in one
   */
  async remove(reference: string): Promise<NetworkRecord> {
    const network = await this.get(reference);
    if (network.builtin) {
      throw new InvalidError(`${network.name} is a pre-defined network and cannot be removed`);
    }
    using _lock = await lockNetworks(this.#ctx);
    deleteNetwork(this.#ctx, network.name);
    if (this.#holders(network).length > 0) this.#releaseEnded();
    const holders = this.#holders(network);
    if (holders.length > 0) {
      addNetwork(this.#ctx, network);
      throw new ConflictError(
        `error while removing network: network ${network.name} has active endpoints (${holders.join(', ')})`,
        { hint: 'stop or disconnect these containers first' },
      );
    }
    await this.#takeDown(network);
    return network;
  }

  #holders(network: NetworkRecord): string[] {
    const directory = leasesDirectory(this.#ctx, network.id);
    const ids = names(directory)
      .filter((n) => !n.startsWith('.'))
      .flatMap((n) => ownerOf(directory, n) ?? [])
      .map(containerOf);
    for (const { settings } of this.endpointsOn(network.id)) ids.push(settings.containerId);
    return [...new Set(ids)].map((id) => readSettings(this.#ctx, id)?.containerName || id.slice(0, 12));
  }

  /** Bridge, rules and leases of a network without containers. */
  async #takeDown(network: NetworkRecord): Promise<void> {
    using _lock = await acquireLock(sharedLock(this.#ctx));
    using host = new Netlink();
    const { table } = kernelNames(this.#ctx);
    if (hasBridge(network)) {
      removeBridge(network, host);
      try {
        if (nftTableExists(table)) nft(networkElements(table, network, 'delete'));
      } catch {
        rebuildRules(this.#ctx, host);
      }
      if (bypasses(network)) setBypass(this.#ctx, this.#anyUp(host, bypasses));
    } else if (network.driver !== 'cni') removeParent(network, host);
    rmSync(leasesDirectory(this.#ctx, network.id), { recursive: true, force: true });
    this.#dropEmptyTable(host);
  }

  #dropEmptyTable(host: Netlink): void {
    const { table } = kernelNames(this.#ctx);
    if (!this.#anyUp(host, () => true) && nftTableExists(table)) nft(`delete table inet ${table}\n`);
  }

  #anyUp(host: Netlink, which: (network: NetworkRecord) => boolean): boolean {
    return listNetworks(this.#ctx).some((n) => n.device && which(n) && linkExists(host, n.device));
  }

  /**
   * Removes user networks that no container is on (and the caller doesn't keep), and takes the default bridge down
   * while nobody needs it.
   * @param keep true for a network that stays, as one that a stopped container is on
   */
  async prune(keep: (network: NetworkRecord) => boolean): Promise<string[]> {
    const removed: string[] = [];
    for (const network of listNetworks(this.#ctx)) {
      if (network.builtin || keep(network)) continue;
      try {
        await this.remove(network.name);
        removed.push(network.name);
      } catch (error) {
        if (!(error instanceof ConflictError) && !(error instanceof NotFoundError)) throw error;
      }
    }
    await this.tidy();
    return removed;
  }

  /** Takes the default bridge and an empty table down; both come back with the next container. */
  async tidy(): Promise<void> {
    const network = readNetwork(this.#ctx, 'bridge');
    this.#releaseEnded();
    if (network && this.#holders(network).length === 0) await this.#takeDown(network);
  }

  /** Rebuilds links that are missing and the whole table from the records. */
  async reload(): Promise<void> {
    const { ensureBridge } = await import('./bridge.js');
    using host = new Netlink();
    for (const network of listNetworks(this.#ctx)) {
      if (hasBridge(network) && this.#holders(network).length > 0)
        await ensureBridge(this.#ctx, network, host);
    }
    using _lock = await acquireLock(sharedLock(this.#ctx));
    rebuildRules(this.#ctx, host);
    if (listSettings(this.#ctx).some(needsNames)) await startNames(this.#ctx);
  }

  // ---- containers that run ----

  /**
   * Puts a running container on one more network.
   * @throws ConflictError where it is on it already
   */
  async attach(containerId: string, request: NetworkRequest, netns: string): Promise<NetworkSettings> {
    const network = await this.get(request.network);
    const settings = readSettings(this.#ctx, containerId);
    if (!settings)
      throw new ConflictError(`container ${containerId.slice(0, 12)} is not on networks of nsbox`);
    if (settings.endpoints.some((e) => e.networkId === network.id)) {
      throw new ConflictError(
        `endpoint with name ${settings.containerName} already exists in network ${network.name}`,
      );
    }
    const endpoint = await this.#lease(settings, request, undefined);
    const first = settings.endpoints.length === 0;
    settings.endpoints.push(endpoint);
    settings.names ||= hasNames(endpoint);
    writeSettings(this.#ctx, settings);
    try {
      if (endpoint.driver === 'cni') {
        await this.connect({ ...settings, endpoints: [endpoint] }, netns);
      } else {
        const route = defaultRouteOf(settings) === endpoint || first ? endpoint : undefined;
        await wire(this.#ctx, this.#withRecords([endpoint]), netns, route);
      }
      markWired(this.#ctx, containerId);
      if (needsNames(settings)) {
        await startNames(this.#ctx);
        await waitForNames(this.#ctx, settings);
      }
    } catch (error) {
      await this.detach(containerId, network.name, netns);
      throw error;
    }
    return settings;
  }

  /** Takes a running container off a network. @throws ConflictError where it isn't on it */
  async detach(containerId: string, reference: string, netns: string | undefined): Promise<NetworkSettings> {
    const network = await this.get(reference);
    const settings = readSettings(this.#ctx, containerId);
    const endpoint = settings?.endpoints.find((e) => e.networkId === network.id);
    if (!settings || !endpoint) {
      throw new ConflictError(
        `container ${containerId.slice(0, 12)} is not connected to network ${network.name}`,
      );
    }
    using host = new Netlink();
    const before = { ...settings };
    settings.endpoints = settings.endpoints.filter((e) => e !== endpoint);
    settings.names = settings.endpoints.some(hasNames);
    if (endpoint.cni) {
      const { cniDelete } = await import('./cni.js');
      await cniDelete(this.#ctx, settings, endpoint);
    } else unwire(endpoint, netns);
    const way = defaultRouteOf(settings);
    const record = way && readNetwork(this.#ctx, way.network);
    if (netns && record && defaultRouteOf(before) === endpoint) setDefaultRoute(way, record, netns);
    writeSettings(this.#ctx, settings);
    if (settings.ports.length > 0) {
      withdrawPorts(this.#ctx, before, host);
      publishPorts(this.#ctx, settings, host);
    }
    this.#unlease(network.id, containerId);
    return settings;
  }
}

/** The endpoint whose gateway leads out: the first whose network isn't internal. */
export function defaultRouteOf(settings: NetworkSettings): Endpoint | undefined {
  return settings.endpoints.find((e) => !e.internal && e.driver !== 'cni');
}

function freeIndex(endpoints: readonly Endpoint[], from: number): number {
  for (let i = 0; ; i++) {
    if (!endpoints.some((e) => e.interface === `eth${i}`)) return i;
    if (i > from + 64) return from;
  }
}

function linkExists(host: Netlink, device: string): boolean {
  return getLink(host, device) !== undefined;
}

/** Opens the networks of a context; nothing is read or made until it is used. */
export function openNetworks(ctx: Context): Networks {
  return new Networks(ctx);
}
