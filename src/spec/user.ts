import { InvalidError } from '../base/index.js';

/** Who a container's process is, in ids inside the container. */
export interface ResolvedUser {
  uid: number;
  gid: number;
  /** Supplementary groups; the primary one is among them, so that a process can't escape a group's denial by dropping it (CVE-2022-36109). */
  additionalGids: number[];
  /** From /etc/passwd; `/` where it has no entry. */
  home: string;
  /** Login name, if it has one. */
  name?: string | undefined;
}

/** Reads a file of the container's root filesystem by its absolute path; undefined where there is none. */
export type RootfsReader = (path: string) => string | undefined;

interface PasswdEntry {
  name: string;
  uid: number;
  gid: number;
  home: string;
}

interface GroupEntry {
  name: string;
  gid: number;
  members: string[];
}

/**
 * Turns `user[:group]` (names or numbers) and `--group-add` into ids, by the image's own /etc/passwd and /etc/group.
 * A number needs no entry; a name does. Without a group, the user's own groups come along.
 * @throws InvalidError, in Docker's words, for a name that isn't there or a number beyond 32 bits
 */
export function resolveUser(user: string, groupAdd: readonly string[], read: RootfsReader): ResolvedUser {
  const colon = user.indexOf(':');
  const userPart = colon < 0 ? user : user.slice(0, colon);
  const groupPart = colon < 0 ? '' : user.slice(colon + 1);
  const passwd = parsePasswd(read('/etc/passwd') ?? '');
  let groupCache: GroupEntry[] | undefined;
  const groups = (): GroupEntry[] => {
    groupCache ??= parseGroup(read('/etc/group') ?? '');
    return groupCache;
  };

  const wanted = userPart === '' ? '0' : userPart;
  const number = /^\d+$/.test(wanted) ? id(wanted, 'uid') : undefined;
  // A name of digits wins over the number, as in Docker.
  const entry = passwd.find((e) => e.name === wanted) ?? passwd.find((e) => e.uid === number);
  if (!entry && number === undefined) {
    throw new InvalidError(`unable to find user ${wanted}: no matching entries in passwd file`, {
      hint: 'name a user that the image has in /etc/passwd, or give a number',
    });
  }
  const uid = entry?.uid ?? number ?? 0;
  let gid = entry?.gid ?? 0;
  const supplementary: number[] = [];
  if (groupPart !== '') {
    gid = groupId(groupPart, groups());
  } else if (entry) {
    for (const g of groups()) if (g.members.includes(entry.name)) supplementary.push(g.gid);
  }
  for (const name of groupAdd) supplementary.push(groupId(name, groups()));
  return {
    uid,
    gid,
    additionalGids: [...new Set([gid, ...supplementary])],
    home: entry?.home || '/',
    name: entry?.name,
  };
}

function groupId(group: string, groups: GroupEntry[]): number {
  const number = /^\d+$/.test(group) ? id(group, 'gid') : undefined;
  const entry = groups.find((g) => g.name === group) ?? groups.find((g) => g.gid === number);
  const gid = entry?.gid ?? number;
  if (gid === undefined) {
    throw new InvalidError(`unable to find group ${group}: no matching entries in group file`, {
      hint: 'name a group that the image has in /etc/group, or give a number',
    });
  }
  return gid;
}

function id(text: string, kind: string): number {
  const n = Number(text);
  // Docker and the kernel's uid_t -1 (no change) both stop at 2^31 − 1.
  if (n > 2147483647) {
    throw new InvalidError(`invalid ${kind} ${text}: uids and gids must be in range 0-2147483647`);
  }
  return n;
}

function parsePasswd(text: string): PasswdEntry[] {
  return lines(text).flatMap((fields) => {
    const [name = '', , uid = '', gid = '', , home = ''] = fields;
    return name && /^\d+$/.test(uid) ? [{ name, uid: Number(uid), gid: Number(gid) || 0, home }] : [];
  });
}

function parseGroup(text: string): GroupEntry[] {
  return lines(text).flatMap((fields) => {
    const [name = '', , gid = '', members = ''] = fields;
    return name && /^\d+$/.test(gid)
      ? [{ name, gid: Number(gid), members: members.split(',').map((m) => m.trim()) }]
      : [];
  });
}

function lines(text: string): string[][] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(':'));
}
