/**
 * Makes root filesystems and images without a registry:
 *
 *   npm run rootfs -- busybox --oci busybox.tar
 *   npm run rootfs -- debian --include redis-server,nginx-light --oci debian.tar
 *   npm run rootfs -- binary python3 /usr/lib/python3.11 --rootfs python.tar
 *
 * Then `nsbox load -i busybox.tar`, or `nsbox import python.tar python`.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { copyFile, mkdir, rename } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { debianTar } from './debian.js';
import { type ImageSettings, writeOciArchive, writeRootfsTar } from './oci.js';
import { binaries, busybox, type Maker, single } from './small.js';

const USAGE = `Usage: npm run rootfs -- KIND [OPTIONS]

Kinds:
  busybox                 Debian's busybox-static with all its applets
  debian                  a minimal Debian, by debootstrap (cached in ~/.cache/nsbox; needs root)
  binary PROGRAM [FILE]…  a program of this machine, its libraries, and further files
  static PROGRAM          one static program and nothing else

Output (one or both):
  --oci FILE              an OCI image archive, for \`nsbox load -i FILE\`
  --rootfs FILE           a tar of the root filesystem, for \`nsbox import FILE NAME\`

Options:
  --name NAME[:TAG]       name of the image in the archive (default: the kind, or the program's name)
  --cmd WORD              a word of the default command; repeat for each
  --env NAME=VALUE        an environment variable of the image; repeatable
  --port PORT             a port that the image exposes, such as 6379 or 53/udp; repeatable
  --suite NAME            Debian's release (default: bookworm)
  --include A,B           Debian packages to add
  --mirror URL            where Debian's packages come from (default: where apt gets them)
`;

/** Epoch of archives that don't depend on when they are made. */
const EPOCH = 0;

async function main(argv: string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      oci: { type: 'string' },
      rootfs: { type: 'string' },
      name: { type: 'string' },
      cmd: { type: 'string', multiple: true },
      env: { type: 'string', multiple: true },
      port: { type: 'string', multiple: true },
      suite: { type: 'string' },
      include: { type: 'string' },
      mirror: { type: 'string' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  const [kind, program, ...more] = positionals;
  if (values.help || !kind) {
    process.stdout.write(USAGE);
    return values.help ? 0 : 2;
  }
  if (!values.oci && !values.rootfs) throw new Error('nothing to make: name --oci FILE or --rootfs FILE');

  const work = mkdtempSync(path.join(os.tmpdir(), 'nsbox-rootfs-'));
  try {
    let tar = path.join(work, 'rootfs.tar');
    let settings: ImageSettings;
    let created: string | undefined;
    if (kind === 'debian') {
      tar = await debianTar({
        ...(values.suite ? { suite: values.suite } : {}),
        ...(values.mirror ? { mirror: values.mirror } : {}),
        include: values.include?.split(',').filter(Boolean) ?? [],
        progress: (line) => process.stderr.write(`${line}\n`),
      });
      settings = {
        Cmd: ['bash'],
        Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      };
    } else {
      const maker = makerOf(kind, program, more);
      const root = path.join(work, 'root');
      await mkdir(root, { mode: 0o755 });
      settings = maker(root);
      await writeRootfsTar(root, tar, EPOCH);
      created = new Date(EPOCH * 1000).toISOString();
    }
    if (values.cmd) settings.Cmd = values.cmd;
    if (values.env) settings.Env = [...(settings.Env ?? []), ...values.env];
    if (values.port) {
      settings.ExposedPorts = Object.fromEntries(
        values.port.map((p) => [p.includes('/') ? p : `${p}/tcp`, {}]),
      );
    }
    const reference =
      values.name ?? (kind === 'binary' || kind === 'static' ? path.basename(program ?? '') : kind);
    if (values.oci)
      await writeOciArchive({
        rootfsTar: tar,
        out: values.oci,
        reference,
        settings,
        ...(created ? { created } : {}),
      });
    if (values.rootfs) {
      const partial = `${values.rootfs}.${process.pid}.partial`;
      await copyFile(tar, partial);
      await rename(partial, values.rootfs);
    }
    return 0;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function makerOf(kind: string, program: string | undefined, more: string[]): Maker {
  if (kind === 'busybox') return busybox;
  if (kind !== 'binary' && kind !== 'static') {
    throw new Error(`no kind ${kind}; there are busybox, debian, binary and static`);
  }
  if (!program) throw new Error(`${kind} which program? (npm run rootfs -- ${kind} PROGRAM --oci FILE)`);
  return kind === 'static' ? single(program) : binaries([program], more);
}

main(process.argv.slice(2)).then(
  (code) => {
    process.exitCode = code;
  },
  (error: Error) => {
    process.stderr.write(`rootfs-tools: ${error.message}\n`);
    process.exitCode = 1;
  },
);
