import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { addon } from './addon.js';

declare module './addon.js' {
  interface NativeAddon {
    watchFd(fd: number, priority: boolean, callback: (events: number) => void): unknown;
    unwatchFd(watch: unknown): void;
    eventFd(): number;
  }
}

/** A watch that ends with its scope. */
export class KernelWatch implements Disposable {
  #end: (() => void) | undefined;
  constructor(end: () => void) {
    this.#end = end;
  }
  [Symbol.dispose](): void {
    this.#end?.();
    this.#end = undefined;
  }
}

/**
 * Sets a trigger on a pressure file and calls back whenever the kernel says that it was met, at most once per window.
 * @param file cpu.pressure, memory.pressure or io.pressure of a group, or of /proc/pressure
 * @param stallUsec microseconds of stall within `windowUsec` (500 000 to 10 000 000). Without CAP_SYS_RESOURCE the
 * window must be a multiple of two seconds.
 * @throws {code, syscall} EINVAL for a window or threshold that the kernel refuses, EOPNOTSUPP without PSI
 * @see Documentation/accounting/psi.rst of the kernel
 */
export function watchPressure(
  file: string,
  kind: 'some' | 'full',
  stallUsec: number,
  windowUsec: number,
  callback: () => void,
): KernelWatch {
  const fd = openSync(file, 'r+');
  try {
    writeSync(fd, `${kind} ${stallUsec} ${windowUsec}\0`);
    const one = Buffer.alloc(1);
    const watch = addon().watchFd(fd, true, (events) => {
      try {
        // A group that is being removed reports for ever, and its file can't be read any more.
        readSync(fd, one, 0, 1, 0);
      } catch {
        ended[Symbol.dispose]();
        return;
      }
      if (events > 0) callback();
    });
    const ended = new KernelWatch(() => {
      addon().unwatchFd(watch);
      closeSync(fd);
    });
    return ended;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/**
 * Calls back when a cgroup v1 memory group runs out of memory.
 * @param directory the v1 memory group
 * @see Documentation/admin-guide/cgroup-v1/memory.rst of the kernel, "OOM control"
 */
export function watchLegacyOom(directory: string, callback: () => void): KernelWatch {
  const event = addon().eventFd();
  let control: number | undefined;
  try {
    control = openSync(`${directory}/memory.oom_control`, 'r');
    const registrar = openSync(`${directory}/cgroup.event_control`, 'w');
    try {
      writeSync(registrar, `${event} ${control}`);
    } finally {
      closeSync(registrar);
    }
    const open = control;
    const buffer = Buffer.alloc(8);
    const watch = addon().watchFd(event, false, (events) => {
      if (events <= 0) return;
      readSync(event, buffer, 0, 8, null);
      callback();
    });
    return new KernelWatch(() => {
      addon().unwatchFd(watch);
      closeSync(event);
      closeSync(open);
    });
  } catch (error) {
    closeSync(event);
    if (control !== undefined) closeSync(control);
    throw error;
  }
}
