import { constants } from 'node:os';
import { errnoText, LaunchError } from '../base/index.js';
import type { StepFailure } from '../kernel/index.js';
import { describeStep, type LaunchPlan, LISTS, type Step } from '../plan/index.js';

const ERRNO_NAMES = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));

/**
 * What a person reads when the kernel refused a step. Pure: from the step, its errno and, for execve, the first bytes
 * of the file that could not be executed.
 */
export function launchError(plan: LaunchPlan, failure: StepFailure, machine = process.arch): LaunchError {
  const list = LISTS[failure.list] ?? 'init';
  const step: Step | undefined = list === 'clone' ? undefined : plan[list][failure.step];
  const errno = ERRNO_NAMES.get(failure.errno) ?? `E${failure.errno}`;
  if (step?.op === 'exec') return execError(step.argv[0]!, step.path, failure, errno, machine);
  if (step?.op === 'findProgram' && failure.syscall === 'execve')
    return execError(step.name, step.path, failure, errno, machine);
  const what = list === 'clone' ? 'create the namespaces' : step ? describeStep(step).title : failure.syscall;
  const where = failure.path ? ` ${failure.path}` : '';
  const detail = failure.detail ? ` (${failure.detail.trim()})` : '';
  return new LaunchError(
    'LAUNCH_FAILED',
    `cannot ${lower(what)}: ${failure.syscall}${where}: ${errnoText(errno)}${detail}`,
    {
      step: list === 'clone' ? 'clone' : `${list} ${failure.step + 1} (${step?.op ?? '?'})`,
      syscall: failure.syscall,
      errno,
      path: failure.path || undefined,
      hint: hint(list === 'clone' ? 'clone' : step?.op, errno, failure),
    },
  );
}

/** What a person reads of a hook that failed after the container's end; undefined for other steps of the end. */
export function endFailure(plan: LaunchPlan, failure: StepFailure): string | undefined {
  const step = plan.finish[failure.step];
  if (step?.op !== 'hook') return undefined;
  const errno = ERRNO_NAMES.get(failure.errno) ?? `E${failure.errno}`;
  return `error running ${step.kind} hook (${step.path}): ${failure.detail.trim() || errnoText(errno)}`;
}

function lower(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

function hint(op: Step['op'] | 'clone' | undefined, errno: string, failure: StepFailure): string | undefined {
  if (op === 'rlimits' && errno === 'EPERM') {
    return 'raising a hard limit needs CAP_SYS_RESOURCE, which this host does not give to nsbox; ask for no more than `ulimit -H` shows';
  }
  if (op === 'procWrite' && failure.path === 'oom_score_adj' && (errno === 'EACCES' || errno === 'EPERM')) {
    return 'lowering oom_score_adj needs CAP_SYS_RESOURCE, which this host does not give to nsbox';
  }
  if (op === 'procWrite' && /^[ug]id_map$/.test(failure.path)) {
    return 'the kernel refused the id map: is the range given to this host (a container?) wide enough, and does AppArmor allow user namespaces? --userns=host runs without one';
  }
  if (op === 'clone' && (errno === 'EPERM' || errno === 'ENOSPC' || errno === 'EUSERS')) {
    return 'see /proc/sys/user/max_*_namespaces and kernel.unprivileged_userns_clone; `nsbox doctor` checks them';
  }
  if (op === 'sysctl' && (errno === 'EACCES' || errno === 'EROFS'))
    return 'only namespaced sysctls can be set for a container';
  if (op === 'sysctl' && errno === 'ENOENT') return 'this kernel has no such sysctl';
  if (op === 'openTree' && errno === 'ENOENT') return 'the source of the mount does not exist on the host';
  if (op === 'chdir' && errno === 'ENOENT')
    return 'the working directory does not exist in the container (-w)';
  if (op === 'chdir' && errno === 'EACCES')
    return 'the user of the container may not enter its working directory';
  if (op === 'attach' && errno === 'ENOTDIR')
    return 'a directory is mounted on a file, or a file on a directory';
  if (op === 'overlay' && errno === 'EINVAL') return 'overlayfs refused the layers: see `dmesg | tail`';
  if (
    op === 'cgroupOpen' ||
    op === 'cgroupEnter' ||
    (op === 'writeFile' && failure.path.includes('cgroup'))
  ) {
    return '`nsbox doctor` says which controllers are usable here';
  }
  if (errno === 'ENOSPC' || errno === 'EDQUOT')
    return 'no space is left; `nsbox system df` shows what nsbox uses';
  return undefined;
}

const S_IFMT = 0o170000;
const S_IFDIR = 0o040000;

function execError(
  program: string,
  searched: string,
  f: StepFailure,
  errno: string,
  machine: string,
): LaunchError {
  const quoted = JSON.stringify(program);
  const details = { step: 'exec', syscall: 'execve', errno, path: f.path || program };
  const notFound = (message: string, hintText?: string) =>
    new LaunchError('COMMAND_NOT_FOUND', `exec: ${quoted}: ${message}`, { ...details, hint: hintText });
  const notExecutable = (message: string, hintText?: string) =>
    new LaunchError('COMMAND_NOT_EXECUTABLE', `exec: ${quoted}: ${message}`, { ...details, hint: hintText });

  if (f.mode === 0) {
    if (errno === 'ENOENT' || errno === 'ENOTDIR') {
      if (program.includes('/'))
        return notFound(
          `stat ${program}: no such file or directory`,
          'the image has no such file; check the path, and the ENTRYPOINT of the image',
        );
      return notFound(`executable file not found in $PATH (searched ${searched})`);
    }
    return notExecutable(errnoText(errno));
  }
  if ((f.mode & S_IFMT) === S_IFDIR) return notExecutable('is a directory: permission denied');
  const script = shebang(f.head);
  if (script) {
    const { interpreter, crlf } = script;
    if (errno === 'ENOENT' && crlf) {
      return notFound(
        `${f.path}: no such file or directory: the interpreter line ends in a carriage return (CRLF), so the kernel looks for ${JSON.stringify(`${interpreter}\r`)}`,
        'save the script with Unix line ends: sed -i "s/\\r$//" FILE',
      );
    }
    if (errno === 'ENOENT') {
      return notFound(
        `${f.path}: no such file or directory: its interpreter ${interpreter} is not in the container`,
        'install the interpreter in the image, or change the first line of the script',
      );
    }
    if (errno === 'EACCES' && (f.mode & 0o111) !== 0) {
      return notExecutable(`${f.path}: permission denied: its interpreter ${interpreter} is not executable`);
    }
    if (errno === 'ENOEXEC')
      return notExecutable(`${f.path}: exec format error: the interpreter line names no program`);
  }
  const elf = elfMachine(f.head);
  if (elf && errno === 'ENOENT') {
    const loader = elfInterpreter(f.head);
    return notFound(
      `${f.path}: no such file or directory: the program's loader ${loader ?? '(PT_INTERP)'} is not in the container`,
      'the program was linked for another libc or distribution; add its libraries, or link it statically',
    );
  }
  if (elf && errno === 'ENOEXEC') {
    const host = machine === 'x64' ? 'x86-64' : machine;
    return notExecutable(
      `${f.path}: exec format error: built for ${elf}, this machine is ${host}`,
      'use an image for this architecture (--platform)',
    );
  }
  if (errno === 'ENOEXEC') {
    return notExecutable(
      `${f.path}: exec format error: ${f.head.length === 0 ? 'the file is empty' : 'neither an ELF program nor a script with a #! line'}`,
      'a shell script needs #!/bin/sh as its first line',
    );
  }
  if (errno === 'EACCES') {
    return notExecutable(
      (f.mode & 0o111) === 0
        ? `${f.path}: permission denied: the file is not executable`
        : `${f.path}: permission denied`,
      (f.mode & 0o111) === 0
        ? `chmod +x ${f.path} in the image`
        : 'the user of the container may not execute it, or its filesystem is mounted noexec',
    );
  }
  return notExecutable(`${f.path}: ${errnoText(errno)}`);
}

/** The interpreter of a #! line (execve(2), "Interpreter scripts"). */
export function shebang(head: Buffer): { interpreter: string; crlf: boolean } | undefined {
  if (head.length < 3 || head[0] !== 0x23 || head[1] !== 0x21) return undefined;
  const end = head.indexOf(0x0a);
  const line = head.subarray(2, end === -1 ? Math.min(head.length, 256) : end).toString('latin1');
  const crlf = line.endsWith('\r');
  const interpreter = line.replace(/\r$/, '').trim().split(/[ \t]/)[0] ?? '';
  return { interpreter, crlf };
}

const MACHINES: Record<number, string> = {
  3: 'i386',
  8: 'MIPS',
  20: 'PowerPC',
  21: 'PowerPC 64',
  22: 'IBM Z',
  40: 'ARM (32 bit)',
  62: 'x86-64',
  183: 'ARM 64 (aarch64)',
  243: 'RISC-V',
  258: 'LoongArch',
};

/** What an ELF header says it was built for; undefined where it is no ELF file. */
export function elfMachine(head: Buffer): string | undefined {
  if (head.length < 20 || head.readUInt32BE(0) !== 0x7f454c46) return undefined;
  const machine = head[5] === 2 ? head.readUInt16BE(18) : head.readUInt16LE(18);
  return MACHINES[machine] ?? `ELF machine ${machine}`;
}

/** Path of the dynamic loader of a 64-bit little-endian ELF file, if it lies in the bytes at hand. */
export function elfInterpreter(head: Buffer): string | undefined {
  if (head.length < 64 || head[4] !== 2 || head[5] !== 1) return undefined;
  const offset = Number(head.readBigUInt64LE(32));
  const size = head.readUInt16LE(54);
  const count = head.readUInt16LE(56);
  for (let i = 0; i < count; i++) {
    const at = offset + i * size;
    if (at + 56 > head.length) return undefined;
    if (head.readUInt32LE(at) !== 3) continue; // PT_INTERP
    const start = Number(head.readBigUInt64LE(at + 8));
    const length = Number(head.readBigUInt64LE(at + 32));
    if (start + length > head.length) return undefined;
    return head
      .subarray(start, start + length)
      .toString('latin1')
      .replace(/\0.*$/s, '');
  }
  return undefined;
}
