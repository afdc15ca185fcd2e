/**
 * Documents that judge a reader of runtime-spec, made anew after the cases of the standard's own schema tests:
 * what each is about, whether it is right, and where a wrong one is wrong.
 */
export interface OciDocument {
  about: string;
  kind: 'config' | 'state' | 'features';
  text: string;
  good: boolean;
  /** A part of the message for a wrong one. */
  says?: RegExp;
}

const config = (rest: object, version = '1.0.0') =>
  JSON.stringify({ ociVersion: version, root: { path: 'rootfs' }, ...rest });

const process = {
  terminal: true,
  user: { uid: 1, gid: 1, additionalGids: [5, 6] },
  args: ['sh'],
  env: ['PATH=/usr/bin:/bin', 'TERM=xterm'],
  cwd: '/',
  capabilities: {
    bounding: ['CAP_AUDIT_WRITE', 'CAP_KILL', 'CAP_NET_BIND_SERVICE'],
    permitted: ['CAP_AUDIT_WRITE', 'CAP_KILL', 'CAP_NET_BIND_SERVICE'],
    inheritable: ['CAP_AUDIT_WRITE', 'CAP_KILL', 'CAP_NET_BIND_SERVICE'],
    effective: ['CAP_AUDIT_WRITE', 'CAP_KILL'],
    ambient: ['CAP_NET_BIND_SERVICE'],
  },
  rlimits: [
    { type: 'RLIMIT_CORE', hard: 1024, soft: 1024 },
    { type: 'RLIMIT_NOFILE', hard: 1024, soft: 1024 },
  ],
  apparmorProfile: 'acme_secure_profile',
  selinuxLabel: 'system_u:system_r:svirt_lxc_net_t:s0:c124,c675',
  ioPriority: { class: 'IOPRIO_CLASS_IDLE', priority: 4 },
  noNewPrivileges: true,
  scheduler: { policy: 'SCHED_RR', nice: 0, priority: 10 },
  execCPUAffinity: { initial: '7', final: '0-3,7' },
};

const hooks = {
  prestart: [{ path: '/usr/bin/fix-mounts', args: ['fix-mounts', 'a'], env: ['key1=value1'] }],
  createRuntime: [{ path: '/usr/bin/setup-network' }],
  createContainer: [{ path: '/usr/bin/mount-hook' }],
  startContainer: [{ path: '/usr/bin/refresh-ldcache' }],
  poststart: [{ path: '/usr/bin/notify-start', timeout: 5 }],
  poststop: [{ path: '/usr/sbin/cleanup.sh', args: ['cleanup.sh', '-f'] }],
};

const linux = {
  devices: [
    { path: '/dev/fuse', type: 'c', major: 10, minor: 229, fileMode: 438, uid: 0, gid: 0 },
    { path: '/dev/sda', type: 'b', major: 8, minor: 0, fileMode: 432, uid: 0, gid: 0 },
  ],
  uidMappings: [{ containerID: 0, hostID: 1000, size: 32000 }],
  gidMappings: [{ containerID: 0, hostID: 1000, size: 32000 }],
  sysctl: { 'net.ipv4.ip_forward': '1', 'net.core.somaxconn': '256' },
  cgroupsPath: '/myRuntime/myContainer',
  resources: {
    network: { classID: 1048577, priorities: [{ name: 'eth0', priority: 500 }] },
    pids: { limit: 32771 },
    hugepageLimits: [
      { pageSize: '2MB', limit: 9223372036854772000 },
      { pageSize: '64KB', limit: 1000000 },
    ],
    memory: {
      limit: 536870912,
      reservation: 536870912,
      swap: 536870912,
      kernel: -1,
      kernelTCP: -1,
      swappiness: 0,
      disableOOMKiller: false,
    },
    cpu: {
      shares: 1024,
      quota: 1000000,
      period: 500000,
      realtimeRuntime: 950000,
      realtimePeriod: 1000000,
      cpus: '2-3',
      mems: '0-7',
      idle: 0,
    },
    devices: [
      { allow: false, access: 'rwm' },
      { allow: true, type: 'c', major: 10, minor: 229, access: 'rw' },
    ],
    blockIO: {
      weight: 10,
      leafWeight: 10,
      weightDevice: [{ major: 8, minor: 0, weight: 500, leafWeight: 300 }],
      throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 600 }],
      throttleWriteIOPSDevice: [{ major: 8, minor: 16, rate: 300 }],
    },
    unified: { 'cgroup.freeze': '0' },
  },
  rootfsPropagation: 'slave',
  seccomp: {
    defaultAction: 'SCMP_ACT_ALLOW',
    architectures: ['SCMP_ARCH_X86', 'SCMP_ARCH_X32'],
    syscalls: [{ names: ['getcwd', 'chmod'], action: 'SCMP_ACT_ERRNO', errnoRet: 5 }],
  },
  timeOffsets: { monotonic: { secs: 172800, nanosecs: 0 }, boottime: { secs: 604800 } },
  namespaces: [
    { type: 'pid' },
    { type: 'network' },
    { type: 'ipc' },
    { type: 'uts' },
    { type: 'mount' },
    { type: 'user' },
    { type: 'cgroup' },
    { type: 'time' },
  ],
  maskedPaths: ['/proc/kcore'],
  readonlyPaths: ['/proc/sys'],
  mountLabel: 'system_u:object_r:svirt_sandbox_file_t:s0:c715,c811',
  memoryPolicy: { mode: 'MPOL_BIND', nodes: '0-1', flags: ['MPOL_F_STATIC_NODES'] },
  intelRdt: { closID: 'guaranteed_group', l3CacheSchema: 'L3:0=7f0;1=1f', memBwSchema: 'MB:0=20;1=70' },
  personality: { domain: 'LINUX32', flags: [] },
};

export const OCI_DOCUMENTS: OciDocument[] = [
  { about: 'nothing but a root', kind: 'config', text: config({}), good: true },
  {
    about: 'enough to start',
    kind: 'config',
    text: config({ process: { cwd: '/', args: ['sh'], user: { uid: 0, gid: 0 } } }),
    good: true,
  },
  {
    about: 'every section of the Linux part',
    kind: 'config',
    text: config(
      {
        process,
        hostname: 'slartibartfast',
        domainname: 'foobarbaz.test',
        mounts: [
          { destination: '/proc', type: 'proc', source: 'proc' },
          {
            destination: '/dev',
            type: 'tmpfs',
            source: 'tmpfs',
            options: ['nosuid', 'mode=755', 'size=65536k'],
          },
          {
            destination: '/data',
            type: 'bind',
            source: '/volumes/testing',
            options: ['rbind', 'rw'],
            uidMappings: [{ containerID: 0, hostID: 1000, size: 10 }],
            gidMappings: [{ containerID: 0, hostID: 1000, size: 10 }],
          },
        ],
        hooks,
        linux,
        annotations: { 'com.example.key1': 'value1' },
      },
      '0.5.0-dev',
    ),
    good: true,
  },
  {
    about: 'RDMA limits',
    kind: 'config',
    text: config({
      linux: {
        resources: { rdma: { mlx5_1: { hcaHandles: 3, hcaObjects: 10000 }, rxe3: { hcaObjects: 1 } } },
      },
    }),
    good: true,
  },
  {
    about: 'network devices to move',
    kind: 'config',
    text: config({ linux: { netDevices: { eth0: { name: 'container_eth0' }, ens4: {} } } }),
    good: true,
  },
  { about: 'FreeBSD, minimal', kind: 'config', text: config({ freebsd: {} }, '1.3.0'), good: true },
  {
    about: 'FreeBSD, a jail',
    kind: 'config',
    text: config(
      {
        process: { terminal: true, args: ['sh'], env: ['TERM=xterm'], cwd: '/' },
        mounts: [{ destination: '/dev', type: 'devfs', source: 'devfs', options: ['ruleset=4'] }],
        freebsd: {
          devices: [{ path: 'pf', mode: 448 }],
          jail: { host: 'new', vnet: 'new', enforceStatfs: 1, allow: { rawSockets: true, mount: ['tmpfs'] } },
        },
      },
      '1.3.0',
    ),
    good: true,
  },
  { about: 'z/OS, minimal', kind: 'config', text: config({ zos: {} }), good: true },
  {
    about: 'z/OS, with hooks and namespaces',
    kind: 'config',
    text: config({ hooks, zos: { namespaces: [{ type: 'pid' }, { type: 'mount' }] } }, '0.5.0-dev'),
    good: true,
  },
  { about: 'not JSON', kind: 'config', text: '{]', good: false, says: /not valid JSON/ },
  {
    about: 'a page size in lower case',
    kind: 'config',
    text: config({ linux: { resources: { hugepageLimits: [{ limit: 1234123, pageSize: '64kB' }] } } }),
    good: false,
    says: /linux\.resources\.hugepageLimits\[0\]\.pageSize: expected a page size.*"64kB"/,
  },
  {
    about: 'a number as an interface name',
    kind: 'config',
    text: config({ linux: { netDevices: { eth0: { name: 23 } } } }),
    good: false,
    says: /linux\.netDevices\.eth0\.name: expected a string, received 23/,
  },
  {
    about: 'a text as an RDMA limit',
    kind: 'config',
    text: config({ linux: { resources: { rdma: { mlx5_1: { hcaHandles: 'not a uint32' } } } } }),
    good: false,
    says: /linux\.resources\.rdma\.mlx5_1\.hcaHandles: expected an unsigned integer of 32 bits/,
  },
  {
    about: 'a FreeBSD vnet that is disabled',
    kind: 'config',
    text: config({ freebsd: { jail: { vnet: 'disable' } } }, '1.3.0'),
    good: false,
    says: /freebsd\.jail\.vnet: expected one of "new", "inherit", received "disable"/,
  },
  {
    about: 'a state',
    kind: 'state',
    text: JSON.stringify({
      ociVersion: '0.2.0',
      id: 'oci-container1',
      status: 'running',
      pid: 4422,
      bundle: '/containers/redis',
      annotations: { myKey: 'myValue' },
    }),
    good: true,
  },
  { about: 'a state that is not JSON', kind: 'state', text: '{]', good: false, says: /not valid JSON/ },
  {
    about: 'features, minimal',
    kind: 'features',
    text: JSON.stringify({ ociVersionMin: '1.0.0', ociVersionMax: '1.1.0' }),
    good: true,
  },
  {
    about: 'features of a whole runtime',
    kind: 'features',
    text: JSON.stringify({
      ociVersionMin: '1.0.0',
      ociVersionMax: '1.0.2-dev',
      hooks: Object.keys(hooks),
      mountOptions: ['bind', 'ro', 'rro'],
      linux: {
        namespaces: ['cgroup', 'ipc', 'mount', 'network', 'pid', 'user', 'uts'],
        capabilities: ['CAP_CHOWN', 'CAP_CHECKPOINT_RESTORE'],
        cgroup: { v1: true, v2: true, systemd: true, systemdUser: true, rdma: true },
        seccomp: {
          enabled: true,
          actions: ['SCMP_ACT_ALLOW'],
          operators: ['SCMP_CMP_EQ'],
          archs: ['SCMP_ARCH_X86_64'],
          knownFlags: ['SECCOMP_FILTER_FLAG_LOG'],
        },
        apparmor: { enabled: true },
        selinux: { enabled: true },
        intelRdt: { enabled: true },
        mountExtensions: { idmap: { enabled: true } },
      },
      annotations: { 'org.example.version': '1' },
    }),
    good: true,
  },
  {
    about: 'features without the newest version',
    kind: 'features',
    text: JSON.stringify({ ociVersionMin: '1.1.0' }),
    good: false,
    says: /ociVersionMax: expected a string, but it is missing/,
  },
];
