import { type Context, InvalidError } from '../../base/index.js';
import type { Flags, FlagValues } from '../command.js';

/** Options of every command that speaks to a registry, as podman has them. */
export const registryFlags = {
  'cert-dir': { type: 'string', value: 'dir', help: 'Take certificates of the registry from a directory' },
  creds: {
    type: 'string',
    value: 'user:password',
    help: 'Use these credentials, instead of the stored ones',
  },
  'tls-verify': {
    type: 'bool',
    default: true,
    help: 'Verify certificates; =false also admits plain HTTP (default true)',
  },
} as const satisfies Flags;

/** What layers are compressed with on their way out. */
export const compressionFlags = {
  'compression-format': { type: 'string', value: 'format', help: 'Compress every layer with gzip or zstd' },
  'compression-level': { type: 'int', value: 'level', help: 'gzip: 1 to 9, zstd: 1 to 19' },
} as const satisfies Flags;

/** The context and credentials that a command's flags ask for. */
export async function registryOptions(
  ctx: Context,
  flags: FlagValues<typeof registryFlags>,
  given: ReadonlySet<string>,
): Promise<{ ctx: Context; credentials: { username: string; password: string } | undefined }> {
  const { withRegistryFlags } = await import('../../image/index.js');
  const verify = given.has('tls-verify') ? flags['tls-verify'] : undefined;
  const colon = flags.creds?.indexOf(':') ?? 0;
  if (flags.creds !== undefined && colon < 1) throw new InvalidError('--creds: expected user:password');
  return {
    ctx: withRegistryFlags(ctx, { tlsVerify: verify, certDir: flags['cert-dir'] }),
    credentials:
      flags.creds === undefined
        ? undefined
        : { username: flags.creds.slice(0, colon), password: flags.creds.slice(colon + 1) },
  };
}

/** @throws InvalidError for a format or level that there isn't */
export function compressionOf(
  flags: FlagValues<typeof compressionFlags>,
): { format: 'gzip' | 'zstd'; level: number | undefined } | undefined {
  const format =
    flags['compression-format'] ?? (flags['compression-level'] === undefined ? undefined : 'gzip');
  const level = flags['compression-level'];
  if (format === undefined) return undefined;
  if (format !== 'gzip' && format !== 'zstd')
    throw new InvalidError(`--compression-format: expected gzip or zstd, received ${JSON.stringify(format)}`);
  const most = format === 'gzip' ? 9 : 19;
  if (level !== undefined && (level < 1 || level > most))
    throw new InvalidError(`--compression-level: expected 1 to ${most} for ${format}, received ${level}`);
  return { format, level };
}
