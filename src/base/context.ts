/**
 * What a command or library call knows of its surroundings. Nothing in nsbox reads process.env,
 * process.cwd() or process.argv below the doors (cli, oci, index): it is handed a Context, so that a warm
 * process can run many commands and a worker thread its own.
 */
export interface Context {
  /** What survives a boot: images, containers, volumes, networks. Default /var/lib/nsbox. */
  readonly root: string;
  /** What dies with the boot. Default /run/nsbox. */
  readonly state: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Where a sentence that isn't an error goes (what was done instead, deprecations). */
  readonly warn: (message: string) => void;
}

export interface ContextOptions {
  root?: string | undefined;
  state?: string | undefined;
  env?: Readonly<Record<string, string | undefined>> | undefined;
  cwd?: string | undefined;
  warn?: ((message: string) => void) | undefined;
}

/** Fills a Context: options first, then NSBOX_ROOT and NSBOX_STATE of `env`, then the defaults. */
export function makeContext(options: ContextOptions = {}): Context {
  const env = options.env ?? process.env;
  return {
    root: options.root ?? env['NSBOX_ROOT'] ?? '/var/lib/nsbox',
    state: options.state ?? env['NSBOX_STATE'] ?? '/run/nsbox',
    env,
    cwd: options.cwd ?? process.cwd(),
    warn: options.warn ?? (() => {}),
  };
}
