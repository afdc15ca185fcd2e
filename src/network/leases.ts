import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { ConflictError, type Context, InvalidError, NsboxError } from '../base/index.js';
import { bounds, contains, formatAddress, parseAddress, parseCidr, toBytes, toNumber } from './address.js';
import { claim, containerOf, names, ownerFor, ownerOf, preparerLives } from './claims.js';
import { leasesDirectory } from './paths.js';
import type { NetworkRecord, SubnetRecord } from './types.js';

/**
 * Takes an address on a network for a container: the asked one, or the next free one after the last handed out, so
 * that an address rests a while before it means another container.
 * @throws InvalidError outside the subnet; ConflictError in use; NsboxError NETWORK where none is free
 */
export function leaseAddress(
  ctx: Context,
  network: NetworkRecord,
  subnet: SubnetRecord,
  containerId: string,
  wanted?: string,
): string {
  const directory = leasesDirectory(ctx, network.id);
  const owner = ownerFor(containerId);
  const block = parseCidr(subnet.subnet);
  const reserved = new Set<string>();
  const reserve = (text: string | undefined) => text && reserved.add(formatAddress(parseAddress(text)));
  reserve(subnet.gateway);
  for (const address of Object.values(subnet.aux ?? {})) reserve(address);
  const all = bounds(block);
  const v4 = block.family === 4;
  // Network and broadcast address belong to nobody; /31, /32 and /127, /128 have none.
  const usable = all.last - all.first > 1n;
  const first = usable ? all.first + 1n : all.first;
  const last = usable && v4 ? all.last - 1n : all.last;

  if (wanted !== undefined) {
    const bytes = parseAddress(wanted);
    const text = formatAddress(bytes);
    const n = toNumber(bytes);
    if (!contains(block, bytes) || n < first || n > last) {
      throw new InvalidError(
        `address ${text} is not in the subnet ${subnet.subnet} of network ${network.name}`,
      );
    }
    if (reserved.has(text) || !take(directory, text, owner, containerId)) {
      const by = reserved.has(text) ? 'the network itself' : `container ${holder(directory, text)}`;
      throw new ConflictError(`address ${text} on network ${network.name} is already in use by ${by}`);
    }
    return text;
  }

  const range = subnet.ipRange ? bounds(parseCidr(subnet.ipRange, true)) : undefined;
  const from = range && range.first > first ? range.first : first;
  const to = range && range.last < last ? range.last : last;
  const taken = new Set(names(directory));
  const hint = path.join(directory, v4 ? '.next4' : '.next6');
  const size = to - from + 1n;
  let at = readHint(hint);
  if (at < from || at > to) at = from;
  // No more than the names in the directory can be taken, so this ends soon after them.
  const tries = BigInt(taken.size + reserved.size + 1000);
  for (let i = 0n; i < size && i < tries; i++, at = at === to ? from : at + 1n) {
    const text = formatAddress(toBytes(at, block.bytes.length));
    if (taken.has(text) || reserved.has(text)) continue;
    if (!take(directory, text, owner, containerId)) continue;
    try {
      writeFileSync(hint, String(at + 1n));
    } catch {
      // Only a hint: without it the search begins at the first address.
    }
    return text;
  }
  throw new NsboxError(
    'NETWORK',
    `no free address left on network ${network.name} (${subnet.ipRange ?? subnet.subnet})`,
    {
      hint: 'remove containers you no longer need, or make a network with a larger --subnet or --ip-range',
    },
  );
}

function take(directory: string, text: string, owner: string, containerId: string): boolean {
  if (claim(directory, text, owner)) return true;
  const other = ownerOf(directory, text);
  // The same container prepared again after a crash keeps what it had.
  return other !== undefined && containerOf(other) === containerId && !othersPreparer(other, owner);
}

function othersPreparer(other: string, owner: string): boolean {
  return other !== owner && preparerLives(other);
}

function holder(directory: string, text: string): string {
  const owner = ownerOf(directory, text);
  return owner ? containerOf(owner).slice(0, 12) : '?';
}

function readHint(file: string): bigint {
  try {
    const text = readFileSync(file, 'latin1');
    return /^\d{1,39}$/.test(text) ? BigInt(text) : 0n;
  } catch {
    return 0n;
  }
}
