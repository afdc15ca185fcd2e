import { readFileSync } from 'node:fs';
import path from 'node:path';
import { type Context, ImageError, isErrno, NsboxError } from '../../base/index.js';
import { ensureDirectory, writeFileAtomic } from '../../state/index.js';

/** Docker's config.json, as far as credentials go; the rest is kept as it is. */
interface DockerConfig {
  auths?: Record<string, { auth?: string; username?: string; password?: string; identitytoken?: string }>;
  credsStore?: string;
  credHelpers?: Record<string, string>;
  [other: string]: unknown;
}

export interface Credentials {
  username: string;
  password: string;
  /** An OAuth refresh token in place of a password. */
  identityToken?: string | undefined;
}

const HUB = 'https://index.docker.io/v1/';

function configFile(ctx: Context): string {
  const directory = ctx.env['DOCKER_CONFIG'] ?? path.join(ctx.env['HOME'] ?? '/root', '.docker');
  return path.join(directory, 'config.json');
}

function readConfig(ctx: Context): DockerConfig {
  const file = configFile(ctx);
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as DockerConfig;
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR')) return {};
    throw new NsboxError(
      'INVALID_ARGUMENT',
      `cannot read the credentials in ${file}: ${(error as Error).message}`,
      {
        path: file,
        cause: error,
      },
    );
  }
}

/** How config.json names a registry. */
function keysOf(domain: string): string[] {
  return domain === 'docker.io'
    ? [HUB, 'index.docker.io', 'docker.io']
    : [domain, `https://${domain}`, `http://${domain}`];
}

/** The stored credentials for a registry, from config.json or its helpers; undefined where there are none. */
export async function credentialsFor(ctx: Context, domain: string): Promise<Credentials | undefined> {
  const config = readConfig(ctx);
  for (const key of keysOf(domain)) {
    const helper = config.credHelpers?.[key] ?? (config.auths?.[key] ? config.credsStore : undefined);
    if (helper) {
      const found = await fromHelper(ctx, helper, key);
      if (found) return found;
    }
    const entry = config.auths?.[key];
    if (!entry) continue;
    const [username = '', ...rest] = entry.auth
      ? Buffer.from(entry.auth, 'base64').toString('utf8').split(':')
      : [];
    const found = {
      username: entry.username ?? username,
      password: entry.password ?? rest.join(':').replace(/\0+$/, ''),
      identityToken: entry.identitytoken || undefined,
    };
    if (found.username !== '' || found.identityToken) return found;
  }
  if (config.credsStore) return fromHelper(ctx, config.credsStore, keysOf(domain)[0]!);
  return undefined;
}

async function fromHelper(ctx: Context, helper: string, key: string): Promise<Credentials | undefined> {
  let text: string;
  try {
    text = await runHelper(ctx, helper, 'get', key);
  } catch (error) {
    if (error instanceof ImageError && /not found/i.test(error.message)) return undefined;
    throw error;
  }
  let answer: { Username?: string; Secret?: string };
  try {
    answer = JSON.parse(text) as typeof answer;
  } catch (cause) {
    throw new ImageError(`docker-credential-${helper} get: its answer is no JSON`, {
      code: 'REGISTRY',
      cause,
    });
  }
  if (answer.Username === '<token>') return { username: '', password: '', identityToken: answer.Secret };
  return { username: answer.Username ?? '', password: answer.Secret ?? '' };
}

/** Runs docker-credential-NAME. @see https://github.com/docker/docker-credential-helpers */
async function runHelper(ctx: Context, helper: string, verb: string, input: string): Promise<string> {
  const { spawn } = await import('node:child_process');
  const program = `docker-credential-${helper}`;
  return new Promise((resolve, reject) => {
    const child = spawn(program, [verb], {
      env: ctx.env as NodeJS.ProcessEnv,
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let out = '';
    child.stdout.on('data', (piece: Buffer) => {
      out += piece.toString();
    });
    child.on('error', (cause) =>
      reject(
        new ImageError(`cannot run the credential helper ${program}: ${cause.message}`, {
          code: 'REGISTRY',
          cause,
        }),
      ),
    );
    child.on('close', (code) => {
      if (code === 0) resolve(out);
      else
        reject(
          new ImageError(`${program} ${verb}: ${out.trim() || `exit code ${code}`}`, { code: 'REGISTRY' }),
        );
    });
    child.stdin.on('error', () => {});
    child.stdin.end(input);
  });
}

/** Stores credentials as `docker login` does: by the configured helper, else in config.json (mode 0600). */
export async function storeCredentials(ctx: Context, domain: string, c: Credentials): Promise<string> {
  const config = readConfig(ctx);
  const key = keysOf(domain)[0]!;
  const helper = config.credHelpers?.[key] ?? config.credsStore;
  if (helper) {
    await runHelper(
      ctx,
      helper,
      'store',
      JSON.stringify({ ServerURL: key, Username: c.username, Secret: c.identityToken ?? c.password }),
    );
    config.auths = { ...config.auths, [key]: {} };
  } else {
    const auth = Buffer.from(`${c.username}:${c.password}`).toString('base64');
    config.auths = { ...config.auths, [key]: { auth } };
  }
  writeConfig(ctx, config);
  return helper ? `docker-credential-${helper}` : configFile(ctx);
}

/** Forgets credentials. @returns whether there were any */
export async function eraseCredentials(ctx: Context, domain: string): Promise<boolean> {
  const config = readConfig(ctx);
  let found = false;
  for (const key of keysOf(domain)) {
    const known = config.auths?.[key] !== undefined;
    const helper = config.credHelpers?.[key] ?? config.credsStore;
    // A helper may have them although config.json doesn't list the registry.
    if (helper && (known || (await fromHelper(ctx, helper, key)))) {
      await runHelper(ctx, helper, 'erase', key).catch((error: Error) => ctx.warn(error.message));
      found = true;
    }
    if (!known) continue;
    found = true;
    delete config.auths![key];
    writeConfig(ctx, config);
  }
  return found;
}

function writeConfig(ctx: Context, config: DockerConfig): void {
  ensureDirectory(path.dirname(configFile(ctx)));
  writeFileAtomic(configFile(ctx), `${JSON.stringify(config, null, '\t')}\n`, { mode: 0o600 });
}
