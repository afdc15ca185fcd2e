/**
 * Milliseconds of a clock that only goes forward. Not `performance.now()`: the first use of that global loads
 * node:perf_hooks, 4 ms of a command's start.
 */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint()) / 1e6;
}
