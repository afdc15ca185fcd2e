import { type FSWatcher, watch } from 'node:fs';

/** Wakes a reader when something in a directory changes (inotify) or somebody says so; nothing is polled. */
export class Waker implements Disposable {
  #watcher: FSWatcher | undefined;
  #pending = false;
  #resolve: (() => void) | undefined;

  /** @param name only changes of entries that begin so */
  constructor(directory: string, name: string) {
    this.#watcher = watch(directory, (_event, file) => {
      if (file === null || file.startsWith(name)) this.wake();
    });
    this.#watcher.on('error', () => this.wake()); // the directory was removed
  }

  wake(): void {
    this.#pending = true;
    this.#resolve?.();
  }

  /** Resolves at the next change, at once where there was one since the last call. */
  async next(): Promise<void> {
    if (!this.#pending) {
      await new Promise<void>((resolve) => {
        this.#resolve = resolve;
      });
      this.#resolve = undefined;
    }
    this.#pending = false;
  }

  [Symbol.dispose](): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }
}
