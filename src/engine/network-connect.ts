import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { ConflictError, type Context, InvalidError } from '../base/index.js';
import type { NetworkSettings } from '../network/index.js';
import type { NetworkRequest } from '../spec/index.js';
import { acquireLock } from '../state/index.js';
import { containerState, findContainer, readContainer, writeContainer } from './containers.js';
import { emitEvent } from './emit.js';
import { containerPaths } from './paths.js';
import type { ContainerRecord } from './records.js';

/**
 * Puts a container on one more network: at once where it runs, and at each of its starts.
 * @throws NotFoundError, ConflictError where it is on it already, InvalidError for one that shares another's network
 */
export async function connectNetwork(
  ctx: Context,
  container: string,
  request: NetworkRequest,
): Promise<void> {
  const { openNetworks } = await import('../network/index.js');
  const networks = openNetworks(ctx);
  const network = await networks.get(request.network);
  if (network.driver === 'host' || network.driver === 'none') {
    throw new ConflictError(
      `container cannot be connected to the network ${network.name}: it has no links of its own`,
    );
  }
  await changed(ctx, container, async (record, pid) => {
    const wanted = namesOf(record);
    const alone = wanted.find((n) => ['host', 'none'].includes(n) || n.startsWith('container:'));
    if (alone && alone !== 'none') {
      throw new InvalidError(
        `container sharing network namespace with another container or host cannot be connected to any other network`,
      );
    }
    if (wanted.some((n) => n === network.name || network.id.startsWith(n))) {
      throw new ConflictError(`endpoint with name ${record.name} already exists in network ${network.name}`);
    }
    if (alone && pid !== undefined) {
      throw new ConflictError(`container ${record.name} runs without a network; stop it first`);
    }
    const before = alone ? [] : wanted.map((n) => requestOf(record, n));
    record.request.networks = [...before, { ...request, network: network.name }];
    const settings =
      pid === undefined ? undefined : await networks.attach(record.id, request, `/proc/${pid}/ns/net`);
    return settings;
  });
}

/** Takes a container off a network. With `force` also where it isn't on it by its record. */
export async function disconnectNetwork(
  ctx: Context,
  container: string,
  reference: string,
  force = false,
): Promise<void> {
  const { openNetworks } = await import('../network/index.js');
  const networks = openNetworks(ctx);
  const network = await networks.get(reference);
  await changed(ctx, container, async (record, pid) => {
    const wanted = namesOf(record);
    const rest = wanted.filter((n) => n !== network.name && !network.id.startsWith(n));
    if (rest.length === wanted.length && !force) {
      throw new ConflictError(`container ${record.name} is not connected to network ${network.name}`);
    }
    record.request.networks = rest.length ? rest.map((n) => requestOf(record, n)) : [{ network: 'none' }];
    return pid === undefined ? undefined : networks.detach(record.id, network.name, `/proc/${pid}/ns/net`);
  });
}

const namesOf = (record: ContainerRecord): string[] =>
  record.request.networks.length ? record.request.networks.map((n) => n.network) : ['bridge'];

const requestOf = (record: ContainerRecord, name: string): NetworkRequest =>
  record.request.networks.find((n) => n.network === name) ?? { network: name };

/** Changes links and record together; the files inside follow, written in place since they are mounted. */
async function changed(
  ctx: Context,
  reference: string,
  work: (record: ContainerRecord, pid: number | undefined) => Promise<NetworkSettings | undefined>,
): Promise<void> {
  const { id } = findContainer(ctx, reference);
  const paths = containerPaths(ctx, id);
  using _lock = await acquireLock(path.join(paths.data, 'network.lock'));
  const record = readContainer(ctx, id) ?? findContainer(ctx, reference);
  const { running } = containerState(ctx, record);
  const settings = await work(record, running && running.pid > 0 ? running.pid : undefined);
  writeContainer(ctx, record);
  if (settings) {
    const { openNetworks } = await import('../network/index.js');
    const { hosts, resolvConf } = openNetworks(ctx).files(settings);
    writeFileSync(path.join(paths.data, 'hosts'), hosts);
    writeFileSync(path.join(paths.data, 'resolv.conf'), resolvConf);
  }
  emitEvent(ctx, 'update', record);
}
