import { InvalidError } from '../base/index.js';

export const DEFAULT_DETACH_KEYS = 'ctrl-p,ctrl-q';

/**
 * `ctrl-p,ctrl-q` → bytes. Each key is one character, or `ctrl-` with a letter or one of `@ [ \ ] ^ _`.
 * @throws InvalidError
 */
export function parseDetachKeys(text: string): Buffer {
  const keys = text === '' ? [] : text.split(',');
  return Buffer.from(
    keys.map((key) => {
      if (/^[\x20-\x7e]$/.test(key)) return key.charCodeAt(0);
      const control = /^ctrl-([a-z@[\\\]^_])$/i.exec(key);
      if (control) return control[1]!.toUpperCase().charCodeAt(0) - 64;
      throw new InvalidError(`invalid detach keys '${text}': unknown key '${key}'`, {
        hint: 'give keys separated by commas: a single character, or ctrl- and one of a-z @ [ \\ ] ^ _',
      });
    }),
  );
}

/** Looks for the detach sequence in what is typed. What could be its beginning is held back until that is decided. */
export class DetachFilter {
  readonly #keys: Buffer;
  #matched = 0;

  constructor(keys: Buffer) {
    this.#keys = keys;
  }

  /** @returns what goes to the program, and whether the sequence was completed (the rest is dropped then) */
  push(chunk: Buffer): { data: Buffer; detached: boolean } {
    if (this.#keys.length === 0) return { data: chunk, detached: false };
    const out: number[] = [];
    for (const byte of chunk) {
      while (byte !== this.#keys[this.#matched] && this.#matched > 0) {
        // Not the sequence after all: its first bytes go on; a shorter beginning may still stand.
        const held = this.#keys.subarray(0, this.#matched);
        let keep = this.#matched - 1;
        while (keep > 0 && !held.subarray(held.length - keep).equals(this.#keys.subarray(0, keep))) keep--;
        for (const b of held.subarray(0, held.length - keep)) out.push(b);
        this.#matched = keep;
      }
      if (byte !== this.#keys[this.#matched]) out.push(byte);
      else if (++this.#matched === this.#keys.length) return { data: Buffer.from(out), detached: true };
    }
    return { data: Buffer.from(out), detached: false };
  }
}
