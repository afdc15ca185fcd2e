import { statSync } from 'node:fs';
import type { Context } from '../../base/index.js';
import { listLinks, Netlink } from '../../kernel/index.js';
import { settingsFile } from '../paths.js';
import { hasEnded, readSettings, settingsIds } from '../settings.js';
import type { NetworkSettings } from '../types.js';

/**
 * The containers' records as the names process sees them. With hundreds of containers a change of one is not to cost
 * reading all: a record is read again when its file is another, and the links are listed again when a container seems
 * to be without its own.
 */
export class Records {
  readonly #ctx: Context;
  #known = new Map<string, { stamp: string; settings: NetworkSettings | undefined }>();
  #links: ReadonlySet<string> = new Set();

  constructor(ctx: Context) {
    this.#ctx = ctx;
  }

  /**
   * Containers whose links exist, or which are just being wired.
   * @param look true to list the links in any case: the end of a container writes no record
   */
  running(look: boolean): NetworkSettings[] {
    const all = this.#all().filter((s) => s.endpoints.length > 0);
    if (!look) {
      const there = all.filter((s) => !hasEnded(this.#ctx, s, this.#links));
      if (there.length === all.length) return there;
    }
    using host = new Netlink();
    this.#links = new Set(listLinks(host).map((l) => l.name));
    return all.filter((s) => !hasEnded(this.#ctx, s, this.#links));
  }

  #all(): NetworkSettings[] {
    const ids = settingsIds(this.#ctx);
    const before = this.#known;
    this.#known = new Map();
    return ids.flatMap((id) => {
      let stamp: string;
      try {
        const s = statSync(settingsFile(this.#ctx, id));
        stamp = `${s.ino} ${s.ctimeMs} ${s.size}`;
      } catch {
        return []; // released meanwhile
      }
      const known = before.get(id);
      const entry = known?.stamp === stamp ? known : { stamp, settings: readSettings(this.#ctx, id) };
      this.#known.set(id, entry);
      return entry.settings ?? [];
    });
  }
}
