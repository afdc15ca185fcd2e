/** What a program inside the test VM prints of each check: one JSON line on stdout, which boot.ts turns into a test. */
export interface GuestResult {
  name: string;
  ms: number;
  skipped?: string;
  error?: string;
}

export function print(result: GuestResult): void {
  process.stdout.write(`${JSON.stringify(result)}\n`);
}

/** Runs one check and prints its result. `run` gives a reason where it leaves the check out. */
export async function report(name: string, run: () => Promise<string | undefined>): Promise<void> {
  const start = performance.now();
  const ms = (): number => Math.round(performance.now() - start);
  try {
    const skipped = await run();
    print(skipped ? { name, ms: ms(), skipped } : { name, ms: ms() });
  } catch (error) {
    print({ name, ms: ms(), error: (error as Error).stack ?? String(error) });
  }
}
