import { refused, type Scenario } from './scenario.js';

/** Documents that no container may come of. */
export const REFUSED: Scenario[] = [
  refused('no process', (s) => {
    delete s.process;
  }),
  refused('no root', (s) => {
    delete s.root;
  }),
  refused('no args', (s) => {
    s.process!.args = [];
  }),
  refused('cwd not absolute', (s) => {
    s.process!.cwd = 'tmp';
  }),
  refused('cwd is a file', (s) => {
    s.process!.cwd = '/etc/passwd';
  }),
  refused(
    'rootfs is missing',
    (s, world) => {
      s.root!.path = `${world.directory}/nosuch`;
    },
    /no such file or directory/,
  ),
  refused('rootfs is a file', (s) => {
    s.root!.path = '/etc/passwd';
  }),
  refused(
    'program is missing',
    (s) => {
      s.process!.args = ['nosuch'];
    },
    /executable file not found in \$PATH/,
  ),
  refused(
    'program by path is missing',
    (s) => {
      s.process!.args = ['/bin/nosuch'];
    },
    /no such file or directory/,
  ),
  refused('program is a directory', (s) => {
    s.process!.args = ['/etc'];
  }),
  refused(
    'program is not executable',
    (s) => {
      s.process!.args = ['/etc/passwd'];
    },
    /permission denied/,
  ),
  refused('not JSON', () => '{'),
  refused('a wrong type', (s) => {
    (s.process as { cwd: unknown }).cwd = 5;
  }),
  refused('a namespace twice', (s) => {
    s.linux!.namespaces!.push({ type: 'uts' });
  }),
  refused('an unknown namespace', (s) => {
    (s.linux!.namespaces as { type: string }[]).push({ type: 'nosuch' });
  }),
  refused(
    'a namespace path that is missing',
    (s, world) => {
      s.linux!.namespaces!.find((n) => n.type === 'network')!.path = `${world.directory}/nosuch`;
    },
    /no such file or directory/,
  ),
  refused('a namespace path of another type', (s) => {
    s.linux!.namespaces!.find((n) => n.type === 'network')!.path = '/proc/1/ns/uts';
  }),
  refused('hostname without a UTS namespace', (s) => {
    s.linux!.namespaces = s.linux!.namespaces!.filter((n) => n.type !== 'uts');
  }),
  refused('masks without a mount namespace', (s) => {
    s.linux!.namespaces = s.linux!.namespaces!.filter((n) => n.type !== 'mount');
  }),
  refused('mappings without a user namespace', (s) => {
    s.linux!.uidMappings = [{ containerID: 0, hostID: 0, size: 1 }];
  }),
  refused('a sysctl of the host', (s) => {
    s.linux!.sysctl = { 'vm.swappiness': '10' };
  }),
  refused('a sysctl that does not exist', (s) => {
    s.linux!.sysctl = { 'net.nosuch': '10' };
  }),
  refused(
    'a bind mount without its source',
    (s, world) => {
      s.mounts!.push({
        destination: '/x',
        type: 'bind',
        source: `${world.directory}/nosuch`,
        options: ['bind'],
      });
    },
    /no such file or directory/,
  ),
  refused(
    'a filesystem that does not exist',
    (s) => {
      s.mounts!.push({ destination: '/x', type: 'nosuchfs', source: 'x' });
    },
    /no such device/,
  ),
  refused('a device of an unknown type', (s) => {
    s.linux!.devices = [{ path: '/dev/x', type: 'x', major: 1, minor: 1 }];
  }),
  refused('seccomp: an unknown action', (s) => {
    (s.linux as Record<string, unknown>)['seccomp'] = { defaultAction: 'SCMP_ACT_NOSUCH' };
  }),
  refused('a rlimit above the hard one', (s) => {
    s.process!.rlimits = [{ type: 'RLIMIT_NOFILE', soft: 10, hard: 5 }];
  }),
  refused('an unknown rlimit', (s) => {
    s.process!.rlimits = [{ type: 'RLIMIT_NOSUCH', soft: 1, hard: 1 }];
  }),
  refused('a rlimit twice', (s) => {
    const l = { type: 'RLIMIT_CORE', soft: 1, hard: 1 };
    s.process!.rlimits = [l, l];
  }),
  refused('a prestart hook that fails', (s) => {
    s.hooks = { prestart: [{ path: '/bin/false' }] };
  }),
  refused(
    'a createRuntime hook that is missing',
    (s) => {
      s.hooks = { createRuntime: [{ path: '/nosuch' }] };
    },
    /no such file or directory/,
  ),
  refused('a createContainer hook that fails', (s) => {
    s.hooks = { createContainer: [{ path: '/bin/false' }] };
  }),
  refused('a hook that takes too long', (s) => {
    s.hooks = { prestart: [{ path: '/bin/sleep', args: ['sleep', '20'], timeout: 1 }] };
  }),
  refused('a terminal without a console socket', (s) => {
    s.process!.terminal = true;
  }),
];
