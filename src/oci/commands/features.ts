import { hostFacts } from '../../host/index.js';
import { libseccompVersion } from '../../kernel/index.js';
import { CAPABILITIES, OCI_VERSION, type OciFeatures } from '../../spec/index.js';
import { checkCount, parseArguments } from '../arguments.js';
import { print } from '../log.js';
import type { Runtime } from '../runtime.js';
import { packageVersion } from '../version.js';

const MOUNT_OPTIONS =
  'async atime bind defaults dev diratime dirsync exec idmap iversion lazytime loud mand noatime nodev nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid nosymfollow private rbind relatime remount ridmap ro rprivate rro rrw rshared rslave runbindable rw rnoatime rnodev rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ratime rdev rdiratime rexec rrelatime rstrictatime rsuid rsymfollow shared silent slave strictatime suid symfollow sync tmpcopyup unbindable';

/** `features`: what of the standard this runtime has on this machine. */
export function command(runtime: Runtime, argv: readonly string[]): number {
  const args = parseArguments(argv, []);
  checkCount('features', args.positional, 0);
  const host = hostFacts(runtime.ctx);
  const features: OciFeatures = {
    ociVersionMin: '1.0.0',
    ociVersionMax: OCI_VERSION,
    hooks: ['prestart', 'createRuntime', 'createContainer', 'startContainer', 'poststart', 'poststop'],
    mountOptions: MOUNT_OPTIONS.split(' ').sort(),
    linux: {
      namespaces: ['cgroup', 'ipc', 'mount', 'network', 'pid', 'time', 'user', 'uts'],
      capabilities: CAPABILITIES.slice(0, host.capabilities.last + 1),
      cgroup: { v1: true, v2: true, systemd: true, systemdUser: false, rdma: true },
      seccomp: {
        enabled: host.seccomp.available,
        actions: [
          'SCMP_ACT_ALLOW',
          'SCMP_ACT_ERRNO',
          'SCMP_ACT_KILL',
          'SCMP_ACT_KILL_PROCESS',
          'SCMP_ACT_KILL_THREAD',
          'SCMP_ACT_LOG',
          'SCMP_ACT_NOTIFY',
          'SCMP_ACT_TRACE',
          'SCMP_ACT_TRAP',
        ],
        operators: [
          'SCMP_CMP_EQ',
          'SCMP_CMP_GE',
          'SCMP_CMP_GT',
          'SCMP_CMP_LE',
          'SCMP_CMP_LT',
          'SCMP_CMP_MASKED_EQ',
          'SCMP_CMP_NE',
        ],
        archs: ['SCMP_ARCH_AARCH64', 'SCMP_ARCH_ARM', 'SCMP_ARCH_X32', 'SCMP_ARCH_X86', 'SCMP_ARCH_X86_64'],
        knownFlags: [
          'SECCOMP_FILTER_FLAG_LOG',
          'SECCOMP_FILTER_FLAG_SPEC_ALLOW',
          'SECCOMP_FILTER_FLAG_TSYNC',
          'SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV',
        ],
        supportedFlags: [
          'SECCOMP_FILTER_FLAG_LOG',
          'SECCOMP_FILTER_FLAG_SPEC_ALLOW',
          'SECCOMP_FILTER_FLAG_TSYNC',
        ],
      },
      apparmor: { enabled: true },
      selinux: { enabled: true },
      intelRdt: { enabled: true, schemata: true, monitoring: true },
      memoryPolicy: {
        modes: [
          'MPOL_BIND',
          'MPOL_DEFAULT',
          'MPOL_INTERLEAVE',
          'MPOL_LOCAL',
          'MPOL_PREFERRED',
          'MPOL_PREFERRED_MANY',
          'MPOL_WEIGHTED_INTERLEAVE',
        ],
        flags: ['MPOL_F_NUMA_BALANCING', 'MPOL_F_RELATIVE_NODES', 'MPOL_F_STATIC_NODES'],
      },
      mountExtensions: { idmap: { enabled: host.features.mountSetattr.have } },
      netDevices: { enabled: true },
    },
    annotations: {
      'io.github.seccomp.libseccomp.version': libseccompVersion(),
      'nsbox.version': packageVersion(),
      // runc's name, which others may use: the commands exist, whether or not criu is installed.
      'org.opencontainers.runc.checkpoint.enabled': 'true',
    },
    // It names a file of the host that criu reads.
    potentiallyUnsafeConfigAnnotations: ['org.criu.config'],
  };
  print(1, `${JSON.stringify(features, undefined, 2)}\n`);
  return 0;
}
