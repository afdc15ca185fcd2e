import { existsSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { type Context, isErrno, runHooks } from '../base/index.js';
import type { StagedEdits } from '../devices/index.js';
import type { ContainerRequest, Spec } from '../spec/index.js';
import { listContainers } from './containers.js';
import { sandboxesDirectory } from './paths.js';

/** Whether a request has anything to do with devices beyond those that every container has. */
export function wantsDevices(request: ContainerRequest): boolean {
  return (
    request.privileged ||
    request.gpus !== undefined ||
    request.devices.length > 0 ||
    request.deviceCgroupRules.length > 0
  );
}

/**
 * What devices and GPUs change, looked up at this moment. NSBOX_DRIVER_ROOT is the tree in which nodes and drivers are
 * looked for where that isn't the host's own (a driver container's root, a test's fake).
 * @param rootfs a plain directory, or the image's layers, lowest first
 * @returns undefined where the request asks for none
 */
export async function deviceEdits(
  ctx: Context,
  request: ContainerRequest,
  imageEnv: readonly string[],
  rootfs: string | readonly string[],
  ld: LdCache = {},
): Promise<StagedEdits | undefined> {
  if (!wantsDevices(request)) return undefined;
  const { imageFiles, rememberingFiles, resolveDevices, stageEdits, withoutToolkitHooks } = await import(
    '../devices/index.js'
  );
  const image = rememberingFiles(imageFiles(typeof rootfs === 'string' ? [rootfs] : rootfs));
  const found = await resolveDevices(
    {
      devices: request.devices,
      gpus: request.gpus,
      deviceCgroupRules: request.deviceCgroupRules,
      imageEnv: [...imageEnv, ...request.env],
      privileged: request.privileged,
    },
    { hostRoot: ctx.env['NSBOX_DRIVER_ROOT'], image },
  );
  const edits = await withoutToolkitHooks(found, image);
  const cache = path.join(ctx.root, 'devices');
  const staged = stageEdits(edits, cache, typeof rootfs === 'string' ? undefined : image);
  // Directories that a CDI file names are to get links too: that has to be done in the container itself.
  if (
    !ld.fixed ||
    typeof rootfs === 'string' ||
    staged.layers.length === 0 ||
    staged.ldconfig?.args.length !== 1
  )
    return staged;
  if (ld.upper !== undefined && existsSync(path.join(ld.upper, 'etc/ld.so.cache'))) return staged;
  const { ldCacheLayer } = await import('../devices/index.js');
  const layer = await ldCacheLayer(staged, cache, rootfs, image, ld.run && ((to) => ld.run!(staged, to)));
  return layer === undefined ? staged : { ...staged, ldconfig: undefined, layers: [...staged.layers, layer] };
}

/** What is known about the image's ld cache. */
export interface LdCache {
  /** The layers are an image's, which never change. */
  fixed?: boolean | undefined;
  /** The container's own layer: a cache in it goes before the image's. */
  upper?: string | undefined;
  /** Runs the image's ldconfig on what was staged, in a container of its own. */
  run?: ((staged: StagedEdits, to: string) => Promise<Uint8Array | undefined>) | undefined;
}

/** What hooks of devices get on their stdin inside: the container's state, as runtime-spec has it. */
export function hookState(id: string, spec: Spec, bundle: string): string {
  return JSON.stringify(stateDocument(id, spec, bundle, 'created', 1));
}

/** @param pid absent once it has ended */
export function stateDocument(id: string, spec: Spec, bundle: string, status: string, pid?: number): object {
  const { ociVersion, annotations } = spec;
  return {
    ociVersion,
    id,
    status,
    ...(pid === undefined ? {} : { pid }),
    bundle,
    ...(annotations ? { annotations } : {}),
  };
}

/** Whether a spec has hooks for the moment before its root is entered, which run on the host's side. */
export const hasRuntimeHooks = (spec: Spec): boolean =>
  Boolean(spec.hooks?.prestart?.length || spec.hooks?.createRuntime?.length);

/** Runs the hooks of devices that belong to the host's side. @throws LaunchError where one fails: nothing starts then */
export async function runtimeHooks(id: string, spec: Spec, bundle: string, pid: number): Promise<void> {
  const state = stateDocument(id, spec, bundle, 'creating', pid);
  await runHooks('prestart', spec.hooks?.prestart, state);
  await runHooks('createRuntime', spec.hooks?.createRuntime, state);
}

/** Runs the hooks for what has started. @throws LaunchError where one fails; the program is killed then, as the standard asks */
export async function poststartHooks(id: string, spec: Spec, bundle: string, pid: number): Promise<void> {
  try {
    await runHooks('poststart', spec.hooks?.poststart, stateDocument(id, spec, bundle, 'running', pid));
  } catch (error) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // it has ended already
    }
    throw error;
  }
}

/** Sources of the edits' mounts: files of the driver, whose owner as a container sees it is nobody's concern. */
export function sourcesOf(edits: StagedEdits | undefined): ReadonlySet<string> {
  return new Set(edits?.mounts.map((m) => m.source));
}

/**
 * Removes what starts with devices keep in <root>/devices, where no container or sandbox could be using it. A start
 * makes it anew.
 */
export function pruneDeviceFiles(ctx: Context): void {
  // A start has its record, or its sandbox's directory, before it looks there.
  if (listContainers(ctx).some((c) => wantsDevices(c.request))) return;
  try {
    if (readdirSync(sandboxesDirectory(ctx)).length > 0) return;
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) throw error;
  }
  rmSync(path.join(ctx.root, 'devices'), { recursive: true, force: true });
}
