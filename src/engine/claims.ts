import { readdirSync, readlinkSync, symlinkSync, unlinkSync } from 'node:fs';
import path from 'node:path';
import { ConflictError, type Context, fromErrno, isErrno, NsboxError, randomInt } from '../base/index.js';
import type { HostFacts } from '../host/index.js';
import { ensureDirectory } from '../state/index.js';
import { idsDirectory, namesDirectory } from './paths.js';

/**
 * Names and id ranges are claimed by symlink(2): it makes the link or fails, so that two processes can't get the same
 * one, and its text says whose it is, so that a claim without an owner can be found and undone.
 */

function claim(link: string, owner: string): boolean {
  for (let tries = 0; ; tries++) {
    try {
      symlinkSync(owner, link);
      return true;
    } catch (error) {
      if (isErrno(error, 'EEXIST')) return false;
      if (!isErrno(error, 'ENOENT') || tries > 0) throw fromErrno(`create ${link}`, error, { path: link });
      ensureDirectory(path.dirname(link));
    }
  }
}

/** Who holds a claim; undefined where nobody does. */
export function holder(link: string): string | undefined {
  try {
    return readlinkSync(link);
  } catch {
    return undefined;
  }
}

/** Gives a claim back, if it is this owner's. */
export function release(link: string, owner: string): void {
  if (holder(link) !== owner) return;
  try {
    unlinkSync(link);
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw fromErrno(`remove ${link}`, error, { path: link });
  }
}

const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

/**
 * Takes a container name.
 * @throws NsboxError INVALID_ARGUMENT for characters Docker refuses; ConflictError when it is in use
 */
export function claimName(ctx: Context, name: string, id: string): void {
  if (!NAME.test(name) || name.length > 200) {
    throw new NsboxError(
      'INVALID_ARGUMENT',
      `Invalid container name (${name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
    );
  }
  const link = path.join(namesDirectory(ctx), name);
  if (claim(link, id)) return;
  throw new ConflictError(
    `Conflict. The container name "/${name}" is already in use by container "${holder(link) ?? '?'}". You have to remove (or rename) that container to be able to reuse that name.`,
  );
}

/** Takes a free name of two words. */
export function claimRandomName(ctx: Context, id: string): string {
  for (let tries = 0; ; tries++) {
    const words = `${pick(ADJECTIVES)}_${pick(NOUNS)}`;
    const name = tries < 5 ? words : `${words}${randomInt(10 ** Math.min(tries, 9))}`;
    if (claim(path.join(namesDirectory(ctx), name), id)) return name;
  }
}

function pick(words: readonly string[]): string {
  return words[randomInt(words.length)]!;
}

/**
 * Takes a range of ids for a container's user namespace.
 * @throws NsboxError where none is free
 */
export function claimIds(
  ctx: Context,
  host: Pick<HostFacts, 'ids'>,
  id: string,
): { start: number; size: number } {
  const { start, size, count } = host.ids.ranges;
  if (count > 0) {
    const first = randomInt(count);
    for (let i = 0; i < count; i++) {
      const from = start + ((first + i) % count) * size;
      if (host.ids.taken.some((t) => from < t.start + t.size && t.start < from + size)) continue;
      if (claim(path.join(idsDirectory(ctx), String(from)), id)) return { start: from, size };
    }
  }
  throw new NsboxError('UNSUPPORTED', 'no free range of 65,536 ids for a user namespace', {
    hint:
      count === 0
        ? 'this host maps too few ids (a container?): use --userns=host'
        : 'remove containers you no longer need (`nsbox container prune`)',
  });
}

/** Every claim in a directory: [name, owner]. */
export function claims(directory: string): [name: string, owner: string][] {
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch {
    return [];
  }
  return names.flatMap((name) => {
    const owner = holder(path.join(directory, name));
    return owner === undefined ? [] : [[name, owner] as [string, string]];
  });
}

const ADJECTIVES =
  'able amber ample apt brave bright brisk calm clean clear clever cool crisp deft eager early even fair fast fine fleet fond free fresh glad golden good grand great green handy happy hardy hearty honest jolly just keen kind light lively lucid lucky mellow merry mild neat new nimble noble open patient plain polite prime proud pure quick quiet rapid ready red rich ripe round royal safe sharp shiny silent silver simple smart smooth snug solid sound spry stable steady still strong sunny sure sweet swift tidy true trusty vivid warm wise witty young'.split(
    ' ',
  );
const NOUNS =
  'acorn anchor arrow aspen badger beacon bear beaver birch bison bridge brook canoe cedar cliff cloud comet coral crane creek dawn deer delta dove eagle elm ember falcon fern finch fjord forest fox garden gate glacier grove harbor hare hawk hazel heron hill island jay juniper lagoon lake lark lemur lily linden lion lynx maple marten meadow mesa moose moss oak ocean orchid osprey otter owl panda peak pebble pine plum pond poplar quail rain raven reef ridge river robin rowan sage salmon seal shore sparrow spruce star stone stork summit swan thistle tide tiger trout tulip valley walnut wave willow wolf wren'.split(
    ' ',
  );
