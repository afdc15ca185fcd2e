import { readFileSync, statSync } from 'node:fs';
import { hostname as hostHostname } from 'node:os';
import { type Context, fromErrno, InvalidError } from '../base/index.js';
import type { DeviceEdits } from '../devices/index.js';
import type { HostFacts } from '../host/index.js';
import {
  buildSpec,
  type ContainerRequest,
  defaultSeccompProfile,
  type ImageConfig,
  type NamespaceType,
  parseSeccompProfile,
  type ResolvedMount,
  type RootfsReader,
  resolveUser,
  type SeccompProfile,
  type SeccompProgram,
  type Spec,
  seccompProgram,
  seccompSection,
} from '../spec/index.js';

export interface SpecOfInput {
  id: string;
  request: ContainerRequest;
  image: ImageConfig | undefined;
  host: HostFacts;
  /** What spec.root.path says; where the overlay would be. */
  rootfs: string;
  /** Reads /etc/passwd and /etc/group of the container. */
  read: RootfsReader;
  idRange: { start: number; size: number } | undefined;
  mounts: readonly ResolvedMount[];
  cgroupsPath: string | undefined;
  join: Partial<Record<NamespaceType, string>>;
  shm?: string | undefined;
  edits?: DeviceEdits | undefined;
}

/** request + image + what the engine resolved → the OCI spec and its compiled seccomp filter. */
export async function specOf(
  ctx: Context,
  input: SpecOfInput,
): Promise<{ spec: Spec; seccomp: SeccompProgram | undefined }> {
  const { request, host } = input;
  const option = request.securityOpt.find((o) => /^seccomp[=:]/.test(o))?.slice('seccomp='.length);
  const own = option && option !== 'unconfined' && option !== 'builtin' && option !== 'default';
  const profile = own ? await readProfile(ctx, option) : undefined;
  let spec = buildSpec({
    request,
    image: input.image,
    rootfs: input.rootfs,
    id: input.id,
    hostname:
      request.hostname ?? (request.namespaces.uts === 'host' ? hostHostname() : input.id.slice(0, 12)),
    user: resolveUser(request.user ?? input.image?.config?.User ?? '', request.groupAdd, input.read),
    idRange: input.idRange,
    cgroupsPath: input.cgroupsPath,
    mounts: input.mounts,
    join: input.join,
    shm: input.shm,
    host,
    deviceNumbers: blockDevice,
    seccomp: (_, capabilities) =>
      seccompSection(profile ?? defaultProfile(), {
        capabilities,
        machine: host.machine,
        kernel: host.kernel.version,
      }),
  });
  if (input.edits) {
    const { applyEdits } = await import('../devices/index.js');
    spec = applyEdits(spec, input.edits);
  }
  if (!spec.linux?.seccomp) return { spec, seccomp: undefined };
  return { spec, seccomp: cachedProgram(ctx, spec, host.machine, own ? undefined : 'default') };
}

let profileCache: SeccompProfile | undefined;
function defaultProfile(): SeccompProfile {
  profileCache ??= defaultSeccompProfile();
  return profileCache;
}

// In one process (an embedder, a warm server) the same capabilities give the same program: no need to hash the section.
const programs = new Map<string, SeccompProgram>();
function cachedProgram(
  ctx: Context,
  spec: Spec,
  machine: string,
  profile: string | undefined,
): SeccompProgram {
  const section = spec.linux!.seccomp!;
  if (!profile) return seccompProgram(ctx, section, machine);
  const key = `${profile} ${machine} ${spec.process?.capabilities?.bounding?.join()}`;
  let program = programs.get(key);
  if (!program) {
    program = seccompProgram(ctx, section, machine);
    programs.set(key, program);
  }
  return program;
}

async function readProfile(ctx: Context, file: string): Promise<SeccompProfile> {
  const path = await import('node:path');
  const full = path.resolve(ctx.cwd, file);
  let text: string;
  try {
    text = readFileSync(full, 'utf8');
  } catch (error) {
    throw fromErrno(`read the seccomp profile ${file}`, error, { path: full });
  }
  return parseSeccompProfile(text, file);
}

/** Major and minor number of a block device, for throttles. */
export function blockDevice(path: string): { major: number; minor: number } {
  let st: ReturnType<typeof statSync>;
  try {
    st = statSync(path);
  } catch (error) {
    throw fromErrno(`look up the device ${path}`, error, { path });
  }
  if (!st?.isBlockDevice()) throw new InvalidError(`${path} is not a block device`, { path });
  const rdev = BigInt(st.rdev);
  return {
    major: Number(((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn)),
    minor: Number((rdev & 0xffn) | ((rdev >> 12n) & ~0xffn)),
  };
}
