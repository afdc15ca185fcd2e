import { formatAddress, parseAddress } from '../address.js';
import { hasNames } from '../files.js';
import type { NetworkSettings } from '../types.js';

/** Who asks, and what the names on its networks mean: built anew whenever a container comes or goes. Pure. */
export class NameTable {
  /** Address of a container → its settings. */
  readonly #askers = new Map<string, NetworkSettings>();
  /** Network id → name in lower case → addresses. */
  readonly #names = new Map<string, Map<string, string[]>>();
  /** Address → name, for questions about addresses. */
  readonly #reverse = new Map<string, Map<string, string>>();

  constructor(all: readonly NetworkSettings[]) {
    for (const settings of all) {
      for (const endpoint of settings.endpoints) {
        if (!hasNames(endpoint)) continue;
        const addresses = [endpoint.ipv4?.address, endpoint.ipv6?.address].filter((a) => a !== undefined);
        const names = this.#of(this.#names, endpoint.networkId);
        const reverse = this.#of(this.#reverse, endpoint.networkId);
        const id = settings.containerId.slice(0, 12);
        const known = new Set([settings.containerName, id, settings.hostname, ...endpoint.aliases]);
        for (const address of addresses) {
          this.#askers.set(address, settings);
          reverse.set(address, settings.containerName || id);
          for (const name of known) {
            if (!name) continue;
            const key = name.toLowerCase();
            names.set(key, [...(names.get(key) ?? []), address]);
          }
        }
      }
    }
  }

  #of<V>(maps: Map<string, Map<string, V>>, key: string): Map<string, V> {
    let map = maps.get(key);
    if (!map) {
      map = new Map();
      maps.set(key, map);
    }
    return map;
  }

  /** The container that has an address; undefined for everybody else, who gets no answer. */
  asker(address: string): NetworkSettings | undefined {
    return this.#askers.get(plainAddress(address));
  }

  /** Addresses of a name as a container sees it, over all of its networks; undefined where no container has it. */
  resolve(asker: NetworkSettings, name: string): string[] | undefined {
    const key = name.toLowerCase();
    const found = asker.endpoints.flatMap((e) => this.#names.get(e.networkId)?.get(key) ?? []);
    return found.length ? [...new Set(found)] : undefined;
  }

  /** Name of an address as a container sees it: `web.mynet`. */
  reverse(asker: NetworkSettings, address: string): string | undefined {
    for (const e of asker.endpoints) {
      const name = this.#reverse.get(e.networkId)?.get(address);
      if (name) return `${name}.${e.network}`;
    }
    return undefined;
  }

  /** Whether a name, without a network's suffix, may be a container's: no dots, so nobody else is asked about it. */
  static isLocal(name: string): boolean {
    return !name.includes('.');
  }
}

/** An IPv4 address that came over an IPv6 socket is itself again; a zone is cut off. */
export function plainAddress(address: string): string {
  const text = address.replace(/%.*$/, '').replace(/^::ffff:(?=\d+\.)/i, '');
  return text.includes(':') ? formatAddress(parseAddress(text)) : text;
}

/** The address in a name such as `2.0.29.172.in-addr.arpa`; undefined for other names. */
export function reverseAddress(name: string): string | undefined {
  const v4 = /^((?:\d{1,3}\.){4})in-addr\.arpa$/i.exec(name);
  if (v4) return v4[1]!.split('.').filter(Boolean).reverse().join('.');
  const v6 = /^((?:[0-9a-f]\.){32})ip6\.arpa$/i.exec(name);
  if (!v6) return undefined;
  const digits = v6[1]!.split('.').filter(Boolean).reverse().join('');
  return formatAddress(Uint8Array.from(Buffer.from(digits, 'hex')));
}
