import { InvalidError } from '../base/index.js';
import type { NamespaceType, SpecLinux } from './runtime-linux.js';

const IPC = new Set([
  'kernel.msgmax',
  'kernel.msgmnb',
  'kernel.msgmni',
  'kernel.sem',
  'kernel.shmall',
  'kernel.shmmax',
  'kernel.shmmni',
  'kernel.shm_rmid_forced',
]);

/** Dots or slashes: `net/ipv4/conf/eth0.100/forwarding` keeps the dot of an interface. */
export function normalSysctl(name: string): string {
  const slash = name.indexOf('/');
  const dot = name.indexOf('.');
  if (slash < 0 || (dot >= 0 && dot < slash)) return name;
  return name.replace(/[./]/g, (c) => (c === '/' ? '.' : '/'));
}

/**
 * Refuses a sysctl that would change the host: each must belong to a namespace that the container has to itself.
 * @throws InvalidError naming the namespace that is missing
 */
export function checkSysctls(
  sysctls: Readonly<Record<string, string>>,
  namespaces: SpecLinux['namespaces'],
  hostname?: string,
): void {
  const has = (type: NamespaceType) => (namespaces ?? []).some((n) => n.type === type);
  for (const given of Object.keys(sysctls)) {
    const name = normalSysctl(given);
    if (IPC.has(name) || name.startsWith('fs.mqueue.')) {
      if (!has('ipc'))
        throw refused(given, "it belongs to the IPC namespace, and the container shares the host's");
    } else if (name.startsWith('net.')) {
      if (!has('network')) {
        throw refused(given, "it belongs to the network namespace, and the container shares the host's");
      }
    } else if (name === 'kernel.domainname') {
      if (!has('uts'))
        throw refused(given, "it belongs to the UTS namespace, and the container shares the host's");
    } else if (name === 'kernel.hostname') {
      throw refused(given, hostname ? 'the hostname is set already' : 'use the hostname field (--hostname)');
    } else if (name.startsWith('user.')) {
      if (!has('user'))
        throw refused(given, "it belongs to the user namespace, and the container shares the host's");
    } else {
      throw refused(given, 'it is not separate per container, and would change the host');
    }
  }
}

function refused(name: string, why: string): InvalidError {
  return new InvalidError(`sysctl "${name}" is not allowed: ${why}`, {
    code: 'INVALID_SPEC',
    path: `linux.sysctl[${JSON.stringify(name)}]`,
    hint: 'containers can set net.*, fs.mqueue.*, kernel.msg*, kernel.sem, kernel.shm* and kernel.domainname',
  });
}
