import { type Context, InvalidError } from '../../base/index.js';
import { parseReference } from '../reference.js';
import { Registry } from './client.js';
import { eraseCredentials, storeCredentials } from './credentials.js';

/** The registry that a server argument of `login` means; Docker Hub without one. */
function domainOf(server: string | undefined): string {
  if (server === undefined) return 'docker.io';
  const host = server.replace(/^https?:\/\//, '').replace(/\/.*$/, '');
  if (host === '' || /\s/.test(host)) throw new InvalidError(`${JSON.stringify(server)} is no registry`);
  return ['index.docker.io', 'registry-1.docker.io', 'docker.io'].includes(host) ? 'docker.io' : host;
}

/**
 * Checks credentials with the registry and stores them where Docker does.
 * @returns where they are stored
 * @throws ImageError REGISTRY where they are wrong
 */
export async function login(ctx: Context, server: string | undefined, username: string, password: string) {
  const domain = domainOf(server);
  const credentials = { username, password };
  // A name that parses; what is asked for is /v2/ itself.
  const ref = { ...parseReference('nsbox/login'), domain };
  const registry = new Registry(ctx, ref, { credentials, login: true });
  const response = await registry.send('/v2/', {});
  response.body.destroy();
  if (response.status === 401 || response.status === 403) throw registry.denied();
  return storeCredentials(ctx, domain, credentials);
}

/** Forgets the credentials of a registry. @returns whether there were any, and its name */
export async function logout(
  ctx: Context,
  server: string | undefined,
): Promise<{ domain: string; found: boolean }> {
  const domain = domainOf(server);
  return { domain, found: await eraseCredentials(ctx, domain) };
}
