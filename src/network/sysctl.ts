import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fromErrno } from '../base/index.js';

/** /proc/sys/net of the namespace this process is in. A value that is already there isn't written again. */
export function setSysctl(name: string, value: string): void {
  const file = `/proc/sys/net/${name}`;
  try {
    if (readFileSync(file, 'latin1').trim() === value) return;
    writeFileSync(file, value);
  } catch (error) {
    throw fromErrno(`set net.${name.replaceAll('/', '.')} to ${value}`, error, {
      path: file,
      hint: '/proc/sys must be writable where bridge networks are made; or use --network host or none',
    });
  }
}

/**
 * Whether this process's network namespace has a link. Unlike a question over rtnetlink this doesn't wait for the lock
 * that the kernel holds, for milliseconds, while it takes another namespace apart.
 */
export const hasLink = (name: string): boolean => existsSync(`/proc/sys/net/ipv4/conf/${name}`);

/**
 * Lets the host forward IPv6. The kernel then ignores router advertisements on links with accept_ra=1, through which
 * many hosts have their own default route: those links are set to 2 (accept although forwarding) first.
 * @see Documentation/networking/ip-sysctl.rst, accept_ra
 */
export function enableIpv6Forwarding(): void {
  const all = '/proc/sys/net/ipv6/conf/all/forwarding';
  try {
    if (readFileSync(all, 'latin1').trim() !== '0') return;
    for (const link of readdirSync('/proc/sys/net/ipv6/conf')) {
      if (link === 'all' || link === 'lo') continue;
      const file = `/proc/sys/net/ipv6/conf/${link}/accept_ra`;
      try {
        if (readFileSync(file, 'latin1').trim() === '1') writeFileSync(file, '2');
      } catch {
        // The link went away meanwhile.
      }
    }
  } catch (error) {
    throw fromErrno('let the host forward IPv6', error, {
      path: all,
      hint: 'is IPv6 disabled on this host? then leave --ipv6 out',
    });
  }
  setSysctl('ipv6/conf/all/forwarding', '1');
}
