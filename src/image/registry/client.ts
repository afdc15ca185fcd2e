import { type Context, ImageError, isErrno, NotFoundError } from '../../base/index.js';
import { MANIFEST_LIMIT } from '../documents.js';
import { type Reference, repositoryOf } from '../reference.js';
import { MEDIA } from '../types.js';
import { type Credentials, credentialsFor } from './credentials.js';
import { type HttpRequest, type HttpResponse, readBody, request } from './http.js';
import { isInsecure, isLoopback } from './settings.js';

const ACCEPT = [MEDIA.ociIndex, MEDIA.dockerList, MEDIA.ociManifest, MEDIA.dockerManifest].join(', ');
const TRIES = 5;
/** A registry that asks for a longer pause than this is as good as down. */
const LONGEST_PAUSE_MS = 60_000;

/**
 * One repository of one registry, to the distribution spec: base URL and token are found with the first request and
 * kept.
 * @see https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md
 */
export class Registry {
  readonly #ctx: Context;
  readonly #ref: Reference;
  #base: URL | undefined;
  #authorization: string | undefined;
  /** What each answered request was authorized with. */
  readonly #sentWith = new WeakMap<HttpResponse, string | undefined>();
  /** A token is being asked for; requests that are refused meanwhile wait for it. */
  #asking: Promise<void> | undefined;
  #credentials: Credentials | undefined | null = null;
  readonly #login: boolean;
  /** The credentials are not those that are stored. */
  readonly #given: boolean;
  readonly #signal: AbortSignal | undefined;
  readonly #mirror: string | undefined;
  /** Scope to ask a token for: `pull`, or `pull,push`. */
  readonly #actions: string;
  readonly #alsoPull: readonly string[];

  constructor(
    ctx: Context,
    ref: Reference,
    options: {
      actions?: 'pull' | 'pull,push' | undefined;
      /** Other repositories to have the right to read, for mounts across repositories. */
      alsoPull?: readonly string[] | undefined;
      credentials?: Credentials | undefined;
      /** Only the credentials are asked about, no repository. */
      login?: boolean | undefined;
      signal?: AbortSignal | undefined;
      /** URL of a mirror to ask in place of the registry itself. */
      mirror?: string | undefined;
    } = {},
  ) {
    this.#ctx = ctx;
    this.#ref = ref;
    this.#actions = options.actions ?? 'pull';
    this.#alsoPull = options.alsoPull ?? [];
    this.#signal = options.signal;
    this.#mirror = options.mirror;
    this.#login = options.login ?? false;
    this.#given = options.credentials !== undefined;
    if (options.credentials) this.#credentials = options.credentials;
  }

  /** GET, with what went wrong in words. The body must be read or destroyed. */
  get(path: string, headers: Record<string, string> = {}): Promise<HttpResponse> {
    return this.send(path, { headers });
  }

  /** A manifest or index by tag or digest. */
  async manifest(tagOrDigest: string): Promise<{ data: Buffer; mediaType: string | undefined }> {
    const response = await this.send(`manifests/${tagOrDigest}`, { headers: { accept: ACCEPT } });
    if (response.status === 404) {
      response.body.destroy();
      throw new NotFoundError(
        'image',
        `${repositoryOf(this.#ref)}${tagOrDigest.includes(':') ? '@' : ':'}${tagOrDigest}`,
        {
          hint: `the registry ${this.#ref.domain} has no such tag`,
        },
      );
    }
    await this.expect(response, [200], `the manifest of ${repositoryOf(this.#ref)}`);
    const data = await readBody(response, MANIFEST_LIMIT);
    return { data, mediaType: response.headers['content-type']?.split(';')[0] };
  }

  async tags(): Promise<string[]> {
    const out: string[] = [];
    let next: string | undefined = 'tags/list?n=1000';
    while (next !== undefined) {
      const response: HttpResponse = await this.send(next, {});
      await this.expect(response, [200], `the tags of ${repositoryOf(this.#ref)}`);
      const page = await this.#json<{ tags?: string[] | null }>(response, MANIFEST_LIMIT, 'a list of tags');
      out.push(...(page.tags ?? []));
      const link = /<([^>]+)>;\s*rel="?next/.exec(String(response.headers['link'] ?? ''))?.[1];
      next = link === undefined ? undefined : new URL(link, response.url).href;
    }
    return out;
  }

  /**
   * Sends a request below /v2/REPOSITORY/ (or to an absolute URL the registry gave), authenticating when asked to and
   * retrying what a registry says is passing: 429 and 5xx, honouring Retry-After; once where the connection is cut.
   */
  async send(path: string, options: HttpRequest): Promise<HttpResponse> {
    let refused = 0;
    let cut = 0;
    for (let tries = 1; ; tries++) {
      let response: HttpResponse;
      try {
        response = await this.#once(path, options);
      } catch (error) {
        // Also a kept connection that the registry closed just now.
        if (cut++ > 0 || !canRepeat(options) || !isErrno(error, 'ECONNRESET', 'EPIPE')) throw error;
        continue;
      }
      if (response.status === 401 && refused++ === 0 && canRepeat(options)) {
        response.body.resume();
        await this.authenticate(response);
        tries--;
        continue;
      }
      if (tries >= TRIES || !canRepeat(options) || !(await this.passes(response, tries))) return response;
    }
  }

  /**
   * Whether a refusal is passing (429, 5xx); waits as Retry-After says, or ever longer, and then drops the answer.
   * @param tries how often it was asked so far
   */
  async passes(response: HttpResponse, tries: number): Promise<boolean> {
    if (response.status !== 429 && (response.status < 500 || response.status === 501)) return false;
    const pause = pauseOf(String(response.headers['retry-after'] ?? ''), tries);
    if (pause > LONGEST_PAUSE_MS) return false;
    response.body.destroy();
    await sleep(pause, this.#signal);
    return true;
  }

  async #once(path: string, options: HttpRequest): Promise<HttpResponse> {
    const headers: Record<string, string> = { ...options.headers };
    const base = this.#base ?? (await this.#findBase());
    const url = /^https?:/.test(path) ? new URL(path) : new URL(path, base);
    // A token is for the registry itself, wherever it sends us, and never for plain HTTP in place of https.
    const authorization = url.origin === base.origin ? this.#authorization : undefined;
    if (authorization) headers['authorization'] = authorization;
    const response = await request(this.#ctx, url, { signal: this.#signal, ...options, headers });
    this.#sentWith.set(response, authorization);
    return response;
  }

  /** https; plain http where a loopback or insecure registry doesn't speak TLS. */
  async #findBase(): Promise<URL> {
    const mirror = this.#mirror;
    const host = this.#ref.domain === 'docker.io' ? 'registry-1.docker.io' : this.#ref.domain;
    const root = mirror ?? `https://${host}`;
    const below = (at: string) => new URL(`/v2/${this.#ref.path}/`, at);
    const name = new URL(root).hostname;
    if (!mirror && (isLoopback(name) || isInsecure(this.#ctx, host))) {
      try {
        const response = await request(this.#ctx, new URL('/v2/', root), { signal: this.#signal });
        response.body.destroy();
      } catch (error) {
        const code = ((error as Error).cause as { code?: string } | undefined)?.code ?? '';
        const registry = error instanceof ImageError && error.code === 'REGISTRY';
        if (!registry || /CERT|SELF_SIGNED|UNABLE_TO|ALTNAME|ALERT/.test(code)) throw error;
        this.#base = below(`http://${host}`);
        return this.#base;
      }
    }
    this.#base = below(root);
    return this.#base;
  }

  /**
   * Answers a 401: basic, or a token from where the registry says. Requests that are refused together ask once. What
   * another host answers, to which the registry led us, says nothing about our credentials.
   */
  async authenticate(refusal: HttpResponse): Promise<void> {
    if (refusal.url.origin !== this.#base?.origin) return;
    if (this.#sentWith.get(refusal) !== this.#authorization) return;
    this.#asking ??= this.#authenticate(refusal).finally(() => {
      this.#asking = undefined;
    });
    await this.#asking;
  }

  async #authenticate(refusal: HttpResponse): Promise<void> {
    const challenge = String(refusal.headers['www-authenticate'] ?? '');
    if (this.#credentials === null) {
      const host = this.#mirror === undefined ? this.#ref.domain : new URL(this.#mirror).host;
      this.#credentials = await credentialsFor(this.#ctx, host);
    }
    const credentials = this.#credentials;
    if (/^basic/i.test(challenge)) {
      if (credentials) this.#authorization = basic(credentials);
      return;
    }
    const fields = Object.fromEntries([...challenge.matchAll(/(\w+)="([^"]*)"/g)].map((m) => [m[1]!, m[2]!]));
    if (!/^bearer/i.test(challenge) || !fields['realm']) return;
    const realm = new URL(fields['realm']);
    const own = new URL(this.#base!).hostname;
    if (realm.protocol !== 'https:' && !isLoopback(realm.hostname) && !isInsecure(this.#ctx, realm.host)) {
      throw new ImageError(`${own} wants credentials sent in the clear to ${realm.host}`, {
        code: 'REGISTRY',
      });
    }
    const scopes = this.#login ? [] : [`repository:${this.#ref.path}:${this.#actions}`];
    for (const other of this.#alsoPull) scopes.push(`repository:${other}:pull`);
    let response: HttpResponse;
    if (credentials?.identityToken) {
      const form = new URLSearchParams({
        grant_type: 'refresh_token',
        service: fields['service'] ?? '',
        client_id: 'nsbox',
        refresh_token: credentials.identityToken,
        ...(scopes.length > 0 ? { scope: scopes.join(' ') } : {}),
      });
      response = await request(this.#ctx, realm, {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
        body: Buffer.from(form.toString()),
        signal: this.#signal,
      });
    } else {
      if (fields['service']) realm.searchParams.set('service', fields['service']);
      for (const scope of scopes) realm.searchParams.append('scope', scope);
      response = await request(this.#ctx, realm, {
        headers: credentials ? { authorization: basic(credentials) } : {},
        signal: this.#signal,
      });
    }
    if (response.status === 401 || response.status === 403) {
      response.body.destroy();
      throw this.denied();
    }
    await this.expect(response, [200], 'a token');
    const answer = await this.#json<{ token?: string; access_token?: string }>(response, 1 << 20, 'a token');
    this.#authorization = `Bearer ${answer.token ?? answer.access_token ?? ''}`;
  }

  async #json<T extends object>(response: HttpResponse, limit: number, what: string): Promise<T> {
    const data = await readBody(response, limit);
    try {
      const answer = JSON.parse(data.toString()) as unknown;
      if (typeof answer === 'object' && answer !== null) return answer as T;
    } catch {
      // Said below.
    }
    throw new ImageError(`${response.url.host} answers with no JSON where ${what} is due`, {
      code: 'REGISTRY',
    });
  }

  denied(): ImageError {
    if (this.#login) {
      return new ImageError(`the registry ${this.#ref.domain} doesn't accept this user and password`, {
        code: 'REGISTRY',
      });
    }
    return new ImageError(
      `the registry ${this.#ref.domain} denies access to ${this.#ref.path}` +
        (this.#credentials ? ` with the ${this.#given ? 'given' : 'stored'} credentials` : ''),
      { code: 'REGISTRY', hint: `does it exist? \`nsbox login ${this.#ref.domain}\` stores credentials` },
    );
  }

  /** Turns any other status into an error that quotes the registry. */
  async expect(response: HttpResponse, statuses: readonly number[], what: string): Promise<void> {
    if (statuses.includes(response.status)) return;
    if (response.status === 401 || response.status === 403) {
      response.body.destroy();
      throw this.denied();
    }
    let said = '';
    try {
      const answer = JSON.parse((await readBody(response, 64 * 1024)).toString()) as {
        errors?: { code?: string; message?: string }[];
      };
      said = (answer.errors ?? []).map((e) => e.message || e.code).join('; ');
    } catch {
      // No JSON: the status has to do.
    }
    throw new ImageError(
      `the registry ${this.#ref.domain} refuses ${what}: status ${response.status}${said ? ` (${said})` : ''}`,
      {
        code: 'REGISTRY',
        hint: response.status === 429 ? 'too many requests: log in, or try later' : undefined,
      },
    );
  }
}

function canRepeat(options: HttpRequest): boolean {
  return options.body === undefined || Buffer.isBuffer(options.body);
}

function basic(c: Credentials): string {
  return `Basic ${Buffer.from(`${c.username}:${c.password}`).toString('base64')}`;
}

/** Milliseconds to wait: what Retry-After says (seconds or a date), else 0.25 s doubling, with some chance in it. */
function pauseOf(header: string, tries: number): number {
  if (/^\d+$/.test(header)) return Number(header) * 1000;
  const date = Date.parse(header);
  if (!Number.isNaN(date)) return Math.max(0, date - Date.now());
  return 250 * 2 ** (tries - 1) * (0.75 + Math.random() / 2);
}

export function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, ms);
    if (signal?.aborted) stop();
    signal?.addEventListener('abort', stop, { once: true });
  });
}
