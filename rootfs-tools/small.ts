/** Small root filesystems: busybox, one static program, or any program of this machine with its libraries. */
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  realpathSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { findProgram, type ImageSettings } from './oci.js';

/** Fills an empty directory with a root filesystem, and says how an image of it is run. */
export type Maker = (root: string) => ImageSettings;

const PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Accounts, as every Unix program expects to find them. */
function accounts(root: string): void {
  mkdirSync(path.join(root, 'etc'), { recursive: true });
  writeFileSync(
    path.join(root, 'etc/passwd'),
    [
      'root:x:0:0:root:/root:/bin/sh',
      'daemon:x:1:1:daemon:/usr/sbin:/bin/false',
      'www-data:x:33:33:www-data:/var/www:/bin/false',
      'nobody:x:65534:65534:nobody:/home:/bin/false',
      '',
    ].join('\n'),
  );
  writeFileSync(
    path.join(root, 'etc/group'),
    ['root:x:0:', 'daemon:x:1:', 'tty:x:5:', 'www-data:x:33:', 'users:x:100:', 'nogroup:x:65534:', ''].join(
      '\n',
    ),
  );
  writeFileSync(path.join(root, 'etc/shadow'), 'root:*:::::::\n', { mode: 0o600 });
  writeFileSync(path.join(root, 'etc/nsswitch.conf'), 'passwd: files\ngroup: files\nhosts: files dns\n');
}

function directories(root: string, names: readonly string[]): void {
  for (const name of names) mkdirSync(path.join(root, name), { recursive: true });
  if (names.includes('tmp')) chmodSync(path.join(root, 'tmp'), 0o1777);
  if (names.includes('root')) chmodSync(path.join(root, 'root'), 0o700);
}

/** Debian's statically linked busybox, with a link for every applet. */
export function busybox(root: string): ImageSettings {
  const program = existsSync('/bin/busybox') ? realpathSync('/bin/busybox') : findProgram('busybox');
  directories(root, [
    'bin',
    'sbin',
    'usr/bin',
    'usr/sbin',
    'dev',
    'etc',
    'home',
    'proc',
    'root',
    'run',
    'sys',
    'tmp',
    'var/tmp',
    'var/www',
  ]);
  chmodSync(path.join(root, 'var/tmp'), 0o1777);
  copyFileSync(program, path.join(root, 'bin/busybox'));
  chmodSync(path.join(root, 'bin/busybox'), 0o755);
  for (const applet of execFileSync(program, ['--list-full'], { encoding: 'utf8' }).trim().split('\n')) {
    const link = path.join(root, applet);
    if (applet === 'bin/busybox' || existsSync(link)) continue;
    mkdirSync(path.dirname(link), { recursive: true });
    symlinkSync('/bin/busybox', link);
  }
  accounts(root);
  return { Cmd: ['sh'], Env: [PATH] };
}

/** One static program and nothing else. */
export function single(program: string): Maker {
  return (root) => {
    const name = path.basename(program);
    copyFileSync(program, path.join(root, name));
    chmodSync(path.join(root, name), 0o755);
    return { Cmd: [`/${name}`], Env: [PATH] };
  };
}

/**
 * Programs of this machine with the libraries and the interpreter that they load, at the same paths.
 * @param names - programs on PATH or paths; the first becomes the image's command
 * @param extra - further files or directories to copy, such as data that the program opens
 */
export function binaries(names: readonly string[], extra: readonly string[] = []): Maker {
  return (root) => {
    const programs = names.map(findProgram);
    directories(root, ['dev', 'etc', 'proc', 'root', 'run', 'sys', 'tmp', 'usr/bin', 'usr/lib']);
    // A merged /usr, as on every current distribution: libraries named by /lib and by /usr/lib are the same.
    for (const name of ['bin', 'sbin', 'lib', 'lib64']) {
      mkdirSync(path.join(root, 'usr', name), { recursive: true });
      symlinkSync(`usr/${name}`, path.join(root, name));
    }
    const wanted = new Set<string>();
    for (const program of programs) {
      wanted.add(program);
      for (const library of librariesOf(program)) wanted.add(library);
    }
    for (const file of wanted) {
      const target = path.join(root, file);
      mkdirSync(path.dirname(target), { recursive: true });
      // The file behind a link such as libc.so.6: the name is what the loader asks for.
      copyFileSync(realpathSync(file), target);
    }
    for (const file of extra) {
      const target = path.join(root, path.dirname(path.resolve(file)));
      mkdirSync(target, { recursive: true });
      execFileSync('cp', ['-a', path.resolve(file), target]);
    }
    accounts(root);
    return { Cmd: [programs[0] ?? '/bin/sh'], Env: [PATH] };
  };
}

/** Absolute paths of what the dynamic loader would map for a program: libraries and the loader itself. */
function librariesOf(program: string): string[] {
  let text: string;
  try {
    text = execFileSync('ldd', [program], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch {
    return []; // a static program, or a script
  }
  const missing = /^\s*(\S+) => not found/m.exec(text);
  if (missing) throw new Error(`${program} needs ${missing[1]}, which is not on this machine`);
  return [...text.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map((m) => m[1] ?? '').filter(Boolean);
}
