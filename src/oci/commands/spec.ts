import { existsSync } from 'node:fs';
import path from 'node:path';
import { ConflictError } from '../../base/index.js';
import { defaultMounts, MASKED_PATHS, OCI_VERSION, READONLY_PATHS, type Spec } from '../../spec/index.js';
import { writeFileAtomic } from '../../state/index.js';
import { checkCount, parseArguments } from '../arguments.js';
import type { Runtime } from '../runtime.js';

const CAPABILITIES = ['CAP_AUDIT_WRITE', 'CAP_KILL', 'CAP_NET_BIND_SERVICE'];

/** `spec`: writes a config.json to start from. */
export function command(runtime: Runtime, argv: readonly string[]): number {
  const args = parseArguments(argv, [
    { name: 'bundle', short: 'b', kind: 'text' },
    { name: 'rootless', kind: 'switch' },
  ]);
  checkCount('spec', args.positional, 0);
  const file = path.resolve(runtime.ctx.cwd, args.texts['bundle'] ?? '.', 'config.json');
  if (existsSync(file)) {
    throw new ConflictError(`File ${file} exists. Remove it first`, { path: file });
  }
  const spec = example(args.switches['rootless'] ?? false);
  writeFileAtomic(file, `${JSON.stringify(spec, undefined, '\t')}\n`, { durable: false, mode: 0o666 });
  return 0;
}

/** Of one mapped id, nothing can belong to the group of terminals. */
function forIds(rootless: boolean, options: Parameters<typeof defaultMounts>[0]): Spec['mounts'] {
  const mounts = defaultMounts(options);
  if (!rootless) return mounts;
  return mounts.map((m) => ({ ...m, options: m.options?.filter((o) => !/^[ug]id=/.test(o)) }));
}

function example(rootless: boolean): Spec {
  // Whoever isn't root can set no network up and make no group, and so stays in the host's.
  const namespaces = rootless
    ? (['pid', 'ipc', 'uts', 'mount', 'user'] as const)
    : (['pid', 'network', 'ipc', 'uts', 'mount', 'cgroup'] as const);
  return {
    ociVersion: OCI_VERSION,
    process: {
      terminal: true,
      user: { uid: 0, gid: 0 },
      args: ['sh'],
      env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'TERM=xterm'],
      cwd: '/',
      capabilities: { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES },
      rlimits: [{ type: 'RLIMIT_NOFILE', hard: 1024, soft: 1024 }],
      noNewPrivileges: true,
    },
    root: { path: 'rootfs', readonly: true },
    hostname: 'nsbox',
    mounts: forIds(rootless, {
      shmSize: 64 * 1024 * 1024,
      ipc: 'private',
      ownNetwork: !rootless,
      ownPid: true,
      userNamespace: rootless,
      writableSys: false,
      writableCgroup: false,
    }),
    linux: {
      ...(rootless ? {} : { resources: { devices: [{ allow: false, access: 'rwm' }] } }),
      namespaces: namespaces.map((type) => ({ type })),
      ...(rootless
        ? {
            uidMappings: [{ containerID: 0, hostID: process.getuid!(), size: 1 }],
            gidMappings: [{ containerID: 0, hostID: process.getgid!(), size: 1 }],
          }
        : {}),
      maskedPaths: [...MASKED_PATHS],
      readonlyPaths: [...READONLY_PATHS],
    },
  };
}
