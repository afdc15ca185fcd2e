import type { Command, Flag } from './command.js';
import { COMMANDS, type CommandEntry, GROUPS } from './registry.js';

/** What `--help` prints. Texts only; nothing here writes. */

export function usageLine(command: Command): string {
  return `Usage:  nsbox ${command.name} ${command.usage}`.trimEnd();
}

export function commandHelp(command: Command): string {
  const parts = [usageLine(command), command.summary];
  if (command.details) parts.push(command.details);
  if (command.aliases?.length) {
    parts.push(`Aliases:\n  ${[command.name, ...command.aliases].map((a) => `nsbox ${a}`).join(', ')}`);
  }
  const rows = Object.entries(command.options)
    .filter(([, flag]) => !flag.hidden && flag.refused === undefined)
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([name, flag]): [string, string] => [flagColumn(name, flag), flag.help + defaultText(flag)]);
  if (rows.length > 0) parts.push(`Options:\n${columns(rows)}`);
  return `\n${parts.join('\n\n')}\n`;
}

function flagColumn(name: string, flag: Flag): string {
  const value =
    flag.type === 'bool' ? '' : ` ${flag.value ?? (flag.type === 'seconds' ? 'duration' : flag.type)}`;
  const shown = flag.bare === undefined ? value : `[=${flag.value ?? 'string'}]`;
  return `${flag.short ? `-${flag.short}, ` : '    '}--${name}${shown}`;
}

function defaultText(flag: Flag): string {
  if (flag.default === undefined || flag.default === false || flag.default === '') return '';
  return ` (default ${typeof flag.default === 'string' ? JSON.stringify(flag.default) : flag.default})`;
}

function columns(rows: readonly [string, string][]): string {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows
    .map(
      ([left, right]) => `  ${left.padEnd(width)}   ${right.replaceAll('\n', `\n${' '.repeat(width + 5)}`)}`,
    )
    .join('\n');
}

export const GLOBAL_OPTIONS: readonly [string, string][] = [
  [
    '    --root string',
    'Where images, containers and volumes lie (default "/var/lib/nsbox", or $NSBOX_ROOT)',
  ],
  ['    --state string', 'Where the state of this boot lies (default "/run/nsbox", or $NSBOX_STATE)'],
  ['-D, --debug', 'Print the whole error: kernel step, cause and stack'],
  [
    '-l, --log-level string',
    'Which notes to print: "debug", "info", "warn", "error", "fatal" (default "info")',
  ],
  ['-v, --version', 'Print version information and quit'],
];

/** Help of `nsbox` itself. */
export function mainHelp(): string {
  const parts = [
    'Usage:  nsbox [OPTIONS] COMMAND',
    'A container runtime built straight on Linux namespaces, cgroups, overlayfs and seccomp',
  ];
  const list = (entries: readonly CommandEntry[]) =>
    columns(
      entries.map((e): [string, string] => [e.paths[0]!, e.summary]).sort(([a], [b]) => a.localeCompare(b)),
    );
  const top = COMMANDS.filter((e) => !e.paths[0]!.includes(' '));
  parts.push(`Common Commands:\n${list(top.filter((e) => e.common))}`);
  parts.push(
    `Management Commands:\n${columns(Object.entries(GROUPS).filter(([g]) => members(g).length > 0))}`,
  );
  parts.push(`Commands:\n${list(top.filter((e) => !e.common))}`);
  parts.push(`Global Options:\n${columns(GLOBAL_OPTIONS)}`);
  parts.push("Run 'nsbox COMMAND --help' for more information on a command.");
  return `\n${parts.join('\n\n')}\n`;
}

function members(group: string): [string, string][] {
  const out = new Map<string, string>();
  for (const entry of COMMANDS) {
    const path = entry.paths.find((p) => p.startsWith(`${group} `));
    if (path) out.set(path.slice(group.length + 1), entry.summary);
  }
  return [...out].sort(([a], [b]) => a.localeCompare(b));
}

/** Help of `nsbox image`, `nsbox volume`, … */
export function groupHelp(group: string): string {
  return `\n${[
    `Usage:  nsbox ${group} COMMAND`,
    GROUPS[group]!,
    `Commands:\n${columns(members(group))}`,
    `Run 'nsbox ${group} COMMAND --help' for more information on a command.`,
  ].join('\n\n')}\n`;
}
