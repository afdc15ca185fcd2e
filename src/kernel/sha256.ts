import { addon } from './addon.js';

declare module './addon.js' {
  interface NativeAddon {
    sha256New(): object | undefined;
    sha256Update(handle: object, bytes: Buffer): Promise<void>;
    sha256Final(handle: object): Buffer;
  }
}

/** SHA-256 of a stream, on threads of the pool: the caller's thread is free for other work meanwhile. */
export class PoolSha256 {
  readonly #handle: object;
  #last: Promise<void> = Promise.resolve();

  private constructor(handle: object) {
    this.#handle = handle;
  }

  /** Undefined where Node has no OpenSSL that addons can use. */
  static create(): PoolSha256 | undefined {
    const handle = addon().sha256New();
    return handle && new PoolSha256(handle);
  }

  /**
   * Hashes bytes after those of the calls before. They must not change until then.
   * @returns when it is done
   */
  update(bytes: Buffer): Promise<void> {
    this.#last = this.#last.then(() => addon().sha256Update(this.#handle, bytes));
    return this.#last;
  }

  /** To be called once, at the end. @returns the digest in hex */
  async digest(): Promise<string> {
    await this.#last;
    return addon().sha256Final(this.#handle).toString('hex');
  }
}
