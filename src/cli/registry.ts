import type { Command } from './command.js';

/** Rows of the command table. See command.ts for how to add one. */
export interface CommandEntry {
  /** Every full spelling, the main one first. */
  readonly paths: readonly string[];
  readonly summary: string;
  /** Listed first by `nsbox --help`. */
  readonly common?: boolean;
  /** Evaluated when the command is asked for, never before. */
  readonly load: () => Promise<{ command: Command }>;
}

export const GROUPS: Readonly<Record<string, string>> = {
  cdi: 'Manage devices of the Container Device Interface',
  container: 'Manage containers',
  image: 'Manage images',
  network: 'Manage networks',
  system: 'Manage nsbox',
  volume: 'Manage volumes',
};

export const COMMANDS: readonly CommandEntry[] = [
  {
    paths: ['version'],
    summary: 'Show the nsbox version information',
    load: () => import('./commands/version.js'),
  },
  {
    paths: ['stats', 'container stats'],
    summary: 'Display a live stream of container(s) resource usage statistics',
    load: () => import('./commands/stats.js'),
  },
  {
    paths: ['top', 'container top'],
    summary: 'Display the running processes of a container',
    load: () => import('./commands/top.js'),
  },
  {
    paths: ['update', 'container update'],
    summary: 'Update configuration of one or more containers',
    load: () => import('./commands/update.js'),
  },
  {
    paths: ['metrics'],
    summary: 'Serve resource usage of all containers to Prometheus',
    load: () => import('./commands/metrics.js'),
  },
  {
    paths: ['cdi list', 'cdi ls'],
    summary: 'List the devices of the Container Device Interface',
    load: () => import('./commands/cdi-list.js'),
  },
  {
    paths: ['cdi generate'],
    summary: "Write a CDI specification of this host's GPUs for other container engines",
    load: () => import('./commands/cdi-generate.js'),
  },
];

let index: Map<string, CommandEntry> | undefined;

/** The entry of a full spelling such as `run` or `image ls`. */
export function findCommand(path: string): CommandEntry | undefined {
  index ??= new Map(COMMANDS.flatMap((entry) => entry.paths.map((p) => [p, entry] as const)));
  return index.get(path);
}
