import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { resolveSyscalls } from '../../src/kernel/index.js';
import {
  CAPABILITIES,
  DEFAULT_CAPABILITIES,
  defaultSeccompProfile,
  parseSeccompProfile,
  type SpecSeccomp,
  seccompProgram,
  seccompSection,
} from '../../src/spec/index.js';
import { runFilter } from '../support/bpf.js';

const state = mkdtempSync('/tmp/nsbox-test-seccomp-');
after(() => rmSync(state, { recursive: true, force: true }));

const X86_64 = 0xc000003e;
const I386 = 0x40000003;
const ALLOW = 0x7fff0000;
const EPERM = 0x00050001;
const ENOSYS = 0x00050026;
const target = { machine: 'x86_64', kernel: [6, 18], capabilities: DEFAULT_CAPABILITIES };

function number(name: string, arch = 'x86_64'): number {
  const n = resolveSyscalls(arch, [name])[0] ?? -1;
  assert.ok(n >= 0, `${name} has a number on ${arch}`);
  return n;
}

const section = seccompSection(defaultSeccompProfile(), target)!;
const { program } = seccompProgram({ state }, section, 'x86_64');
const judge = (nr: number, args?: bigint[], arch = X86_64) =>
  runFilter(program, { nr, arch, ...(args ? { args } : {}) });

test('the default policy allows the everyday and denies the dangerous', () => {
  for (const name of ['read', 'openat', 'execve', 'futex', 'ptrace', 'statx', 'rseq', 'close_range']) {
    assert.equal(judge(number(name)), ALLOW, name);
  }
  for (const name of [
    'mount',
    'unshare',
    'setns',
    'bpf',
    'init_module',
    'kexec_load',
    'keyctl',
    'io_uring_setup',
    'userfaultfd',
    'swapon',
    'reboot',
    'clock_settime',
    'open_by_handle_at',
    'mbind',
  ]) {
    assert.equal(judge(number(name)), EPERM, name);
  }
});

test('arguments decide: new namespaces, socket families, personalities', () => {
  const CLONE_THREADS = 0x003d0f00n;
  const CLONE_NEWUSER = 0x10000000n;
  assert.equal(judge(number('clone'), [CLONE_THREADS]), ALLOW);
  assert.equal(judge(number('clone'), [CLONE_THREADS | CLONE_NEWUSER]), EPERM);
  assert.equal(judge(number('clone3')), ENOSYS);
  for (const [family, verdict] of [
    [1n, ALLOW],
    [2n, ALLOW],
    [16n, ALLOW],
    [38n, EPERM],
    [39n, ALLOW],
    [40n, EPERM],
    [41n, ALLOW],
  ] as const) {
    assert.equal(judge(number('socket'), [family]), verdict, `socket family ${family}`);
  }
  assert.equal(judge(number('personality'), [0xffffffffn]), ALLOW);
  assert.equal(judge(number('personality'), [0x0040000n]), EPERM);
});

test('calls newer than libseccomp: those in the profile work, those nobody knows are ENOSYS', () => {
  assert.equal(judge(452), ALLOW, 'fchmodat2');
  assert.equal(judge(462), ALLOW, 'mseal');
  assert.equal(judge(466), ALLOW, 'removexattrat');
  assert.equal(judge(459), EPERM, 'lsm_get_self_attr is known and needs CAP_SYS_ADMIN');
  for (const nr of [467, 470, 999, 4095]) assert.equal(judge(nr), ENOSYS, `number ${nr}`);
});

test('32-bit and x32 calls are judged by their own numbers', () => {
  assert.equal(judge(number('read', 'x86'), undefined, I386), ALLOW);
  assert.equal(judge(number('mount', 'x86'), undefined, I386), EPERM);
  assert.equal(judge(452, undefined, I386), ALLOW);
  assert.equal(judge(999, undefined, I386), ENOSYS);
  assert.equal(judge(number('read', 'x32')), ALLOW);
  assert.equal(judge(number('mount', 'x32')), EPERM);
  assert.equal(judge(0x40000000 + 999), ENOSYS);
  assert.equal(judge(0, undefined, 0xc00000b7), 0, 'a foreign architecture is killed');
});

test('capabilities open what they stand for', () => {
  const open = (...capabilities: string[]) =>
    seccompProgram({ state }, seccompSection(defaultSeccompProfile(), { ...target, capabilities })!, 'x86_64')
      .program;
  const admin = open('CAP_SYS_ADMIN');
  assert.equal(runFilter(admin, { nr: number('mount'), arch: X86_64 }), ALLOW);
  assert.equal(runFilter(admin, { nr: number('clone3'), arch: X86_64 }), ALLOW);
  assert.equal(runFilter(admin, { nr: 459, arch: X86_64 }), ALLOW);
  assert.equal(runFilter(open(), { nr: number('chroot'), arch: X86_64 }), EPERM);
  assert.equal(runFilter(open('CAP_SYS_CHROOT'), { nr: number('chroot'), arch: X86_64 }), ALLOW);
  assert.equal(runFilter(open('CAP_BPF'), { nr: number('bpf'), arch: X86_64 }), ALLOW);
  const all = open(...CAPABILITIES);
  for (const name of ['mount', 'reboot', 'init_module', 'settimeofday', 'perf_event_open', 'iopl']) {
    assert.equal(runFilter(all, { nr: number(name), arch: X86_64 }), ALLOW, name);
  }
});

test('before Linux 4.8 ptrace is closed', () => {
  const old = seccompSection(defaultSeccompProfile(), { ...target, kernel: [4, 4] })!;
  const { program: filter } = seccompProgram({ state }, old, 'x86_64');
  assert.equal(runFilter(filter, { nr: number('ptrace'), arch: X86_64 }), EPERM);
});

test('flags, errnoRet, several comparisons of one argument, KILL and LOG', () => {
  const own: SpecSeccomp = {
    defaultAction: 'SCMP_ACT_ALLOW',
    flags: ['SECCOMP_FILTER_FLAG_LOG', 'SECCOMP_FILTER_FLAG_SPEC_ALLOW'],
    syscalls: [
      { names: ['getcwd', 'no_such_call'], action: 'SCMP_ACT_ERRNO', errnoRet: 5 },
      { names: ['chmod'], action: 'SCMP_ACT_KILL_PROCESS' },
      { names: ['mkdir'], action: 'SCMP_ACT_LOG' },
      {
        names: ['kill'],
        action: 'SCMP_ACT_ERRNO',
        args: [
          { index: 1, value: 9, op: 'SCMP_CMP_EQ' },
          { index: 1, value: 15, op: 'SCMP_CMP_EQ' },
        ],
      },
      {
        names: ['lseek'],
        action: 'SCMP_ACT_ERRNO',
        args: [{ index: 1, value: 0xfffffffffffffff0n, op: 'SCMP_CMP_GE' }],
      },
      { names: ['mseal'], action: 'SCMP_ACT_ERRNO', errnoRet: 95 },
    ],
  };
  const { program: filter, flags, notify } = seccompProgram({ state }, own, 'x86_64');
  const verdict = (name: string, args?: bigint[]) =>
    runFilter(filter, { nr: number(name), arch: X86_64, ...(args ? { args } : {}) });
  assert.equal(flags, 2 | 4);
  assert.equal(notify, false);
  assert.equal(verdict('getcwd'), 0x00050005);
  assert.equal(verdict('chmod'), 0x80000000);
  assert.equal(verdict('mkdir'), 0x7ffc0000);
  assert.equal(verdict('kill', [1n, 9n]), EPERM);
  assert.equal(verdict('kill', [1n, 15n]), EPERM);
  assert.equal(verdict('kill', [1n, 10n]), ALLOW);
  assert.equal(verdict('lseek', [0n, -1n]), EPERM);
  assert.equal(verdict('lseek', [0n, 0xffffffffffffffefn]), ALLOW);
  assert.equal(
    runFilter(filter, { nr: 462, arch: X86_64 }),
    0x0005005f,
    'mseal, which libseccomp can not name',
  );
  assert.equal(runFilter(filter, { nr: 999, arch: X86_64 }), ALLOW, 'an allowing profile has no ENOSYS');
});

test('notify needs a listener, and asks for one', () => {
  const own: SpecSeccomp = {
    defaultAction: 'SCMP_ACT_ALLOW',
    syscalls: [{ names: ['mkdir'], action: 'SCMP_ACT_NOTIFY' }],
  };
  assert.throws(() => seccompProgram({ state }, own, 'x86_64'), /linux\.seccomp\.listenerPath/);
  const { flags, notify } = seccompProgram({ state }, { ...own, listenerPath: '/run/x.sock' }, 'x86_64');
  assert.deepEqual([flags, notify], [8, true]);
});

test('the cache is used, and a damaged one is made anew', () => {
  const own: SpecSeccomp = {
    defaultAction: 'SCMP_ACT_ALLOW',
    syscalls: [{ names: ['rmdir'], action: 'SCMP_ACT_ERRNO' }],
  };
  const before = new Set(readdirSync(path.join(state, 'seccomp')));
  const first = seccompProgram({ state }, own, 'x86_64').program;
  const made = readdirSync(path.join(state, 'seccomp')).filter((f) => !before.has(f));
  assert.equal(made.length, 1);
  assert.deepEqual(Buffer.from(seccompProgram({ state }, own, 'x86_64').program), Buffer.from(first));
  writeFileSync(path.join(state, 'seccomp', made[0]!), 'damaged');
  assert.deepEqual(Buffer.from(seccompProgram({ state }, own, 'x86_64').program), Buffer.from(first));
});

test("a profile in Docker's format is validated, and contradictions are refused", async () => {
  const profile = await parseSeccompProfile(
    '{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[{"name":"read","action":"SCMP_ACT_ALLOW","args":[],"includes":{},"excludes":{"caps":["CAP_KILL"]}},{"names":["write"],"action":"SCMP_ACT_ALLOW"}]}',
    'mine.json',
  );
  assert.deepEqual(
    seccompSection(profile, target)?.syscalls?.map((s) => s.names),
    [['write']],
  );
  await assert.rejects(
    parseSeccompProfile('{"defaultAction":"SCMP_ACT_ALLOWED"}', 'mine.json'),
    /mine\.json: defaultAction: expected one of "SCMP_ACT_KILL"/,
  );
  assert.throws(
    () =>
      seccompSection(
        {
          defaultAction: 'SCMP_ACT_ALLOW',
          architectures: ['SCMP_ARCH_X86'],
          archMap: [{ architecture: 'SCMP_ARCH_X86_64' }],
        },
        target,
      ),
    /either "architectures" or "archMap"/,
  );
  assert.equal(seccompSection({} as never, target), undefined);
});
