let now: ((code: number) => void) | undefined;

/** Native code tells how to end a process without taking Node apart; it may never be loaded. */
export function setQuickExit(exit: (code: number) => void): void {
  now = exit;
}

/**
 * Ends a program's process. What is listening for `exit` is told.
 * @param self the `process` of the program's main file
 * @param tidy whether Node must put back what it changed: terminals and O_NONBLOCK of the standard streams, if they were
 * opened as streams. Without that need its own taking-apart (some 2 ms) is left out: the kernel frees all it holds.
 */
export function leave(self: NodeJS.Process, code: number, tidy: boolean): never {
  // A profiler or coverage writes its report while Node is taken apart.
  if (now && !tidy && self.execArgv.length === 0 && !self.env['NODE_V8_COVERAGE']) {
    self.exitCode = code;
    self.emit('exit', code);
    now(code);
  }
  return self.exit(code);
}
