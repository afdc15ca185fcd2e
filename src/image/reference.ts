import { InvalidError } from '../base/index.js';

/**
 * A name of an image as Docker writes it, taken apart. `nginx` is `docker.io/library/nginx:latest`.
 * @see https://github.com/distribution/reference (the grammar)
 */
export interface Reference {
  /** Registry host with its port, such as `docker.io`, `localhost:5000`, `[::1]:5000`. */
  domain: string;
  /** Repository, such as `library/nginx`. */
  path: string;
  /** Absent where only a digest was given. */
  tag?: string | undefined;
  /** `sha256:…` */
  digest?: string | undefined;
}

const DOMAIN_PART = '(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])';
const DOMAIN = new RegExp(`^(?:${DOMAIN_PART}(?:\\.${DOMAIN_PART})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`);
const PATH_PART = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const PATH = new RegExp(`^${PATH_PART}(?:/${PATH_PART})*$`);
const TAG = /^[\w][\w.-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$|^sha512:[0-9a-f]{128}$/;

/** True for `sha256:` and 64 lower-case hexadecimal digits (or the same of sha512). */
export function isDigest(text: string): boolean {
  return DIGEST.test(text);
}

/**
 * Takes a reference apart. A missing domain is Docker Hub, a missing tag is `latest` unless there is a digest.
 * @throws InvalidError with the part that is wrong
 */
export function parseReference(text: string): Reference {
  const bad = (why: string, hint?: string) =>
    new InvalidError(`invalid reference format: ${JSON.stringify(text)}: ${why}`, { hint });
  let rest = text;
  let digest: string | undefined;
  const at = rest.indexOf('@');
  if (at >= 0) {
    digest = rest.slice(at + 1);
    rest = rest.slice(0, at);
    if (!isDigest(digest)) throw bad('a digest reads sha256: and 64 hexadecimal digits');
  }
  let tag: string | undefined;
  const colon = rest.lastIndexOf(':');
  if (colon > rest.lastIndexOf('/') && !rest.endsWith(']')) {
    tag = rest.slice(colon + 1);
    rest = rest.slice(0, colon);
    if (!TAG.test(tag)) throw bad('a tag has up to 128 letters, digits, ".", "_" and "-"');
  }
  if (rest === '') throw bad('the name is missing');
  const [domain, path] = splitDomain(rest);
  if (!DOMAIN.test(domain)) throw bad(`${JSON.stringify(domain)} is no registry host`);
  if (!PATH.test(path)) {
    throw bad(
      /[A-Z]/.test(path)
        ? 'repository name must be lowercase'
        : `${JSON.stringify(path)} is no repository name`,
      'names have lower-case letters, digits, ".", "_" and "-", in parts split by "/"',
    );
  }
  if (`${domain}/${path}`.length > 255) throw bad('the name is longer than 255 characters');
  return { domain, path, tag: tag ?? (digest ? undefined : 'latest'), digest };
}

/** As distribution's `splitDockerDomain`: the first part is a host if it has a dot or colon, or is `localhost`. */
function splitDomain(name: string): [string, string] {
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  let domain = 'docker.io';
  let path = name;
  if (first !== '' && (/[.:[]/.test(first) || first === 'localhost' || first !== first.toLowerCase())) {
    domain = first === 'index.docker.io' ? 'docker.io' : first;
    path = name.slice(slash + 1);
  }
  if (domain === 'docker.io' && !path.includes('/')) path = `library/${path}`;
  return [domain, path];
}

/** `docker.io/library/nginx`: the full name without tag and digest. */
export function repositoryOf(ref: Reference): string {
  return `${ref.domain}/${ref.path}`;
}

/** The full, unambiguous form. With both a tag and a digest, the digest decides and the tag is left out. */
export function canonical(ref: Reference): string {
  if (ref.digest) return `${repositoryOf(ref)}@${ref.digest}`;
  return `${repositoryOf(ref)}:${ref.tag ?? 'latest'}`;
}

/** The short form that people see: Docker Hub's domain and `library/` left out. Takes a canonical reference. */
export function familiar(name: string): string {
  const hub = 'docker.io/';
  if (!name.startsWith(hub)) return name;
  const rest = name.slice(hub.length);
  return rest.startsWith('library/') ? rest.slice('library/'.length) : rest;
}

/** Repository and tag of a familiar name, as the columns of `images` have them; `<none>` without a name. */
export function splitName(name: string | undefined): [repository: string, tag: string] {
  if (name === undefined) return ['<none>', '<none>'];
  const colon = name.lastIndexOf(':');
  return colon > name.lastIndexOf('/') ? [name.slice(0, colon), name.slice(colon + 1)] : [name, '<none>'];
}
