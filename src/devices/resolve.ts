import type { DeviceRequest } from '../spec/index.js';
import { isQualifiedName } from './cdi/names.js';
import { driverFiles } from './driver-root.js';
import { addRule, type DeviceEdits, emptyEdits, mergeEdits } from './edits.js';
import { type HostFiles, rememberingFiles } from './host-files.js';
import { addAllHostDevices, addHostDevice } from './nodes.js';
import { parseDeviceRule } from './rules.js';

export interface DevicesRequest {
  devices: readonly DeviceRequest[];
  /** `--gpus` as written. */
  gpus?: string | undefined;
  deviceCgroupRules?: readonly string[] | undefined;
  /** `KEY=value`: the image's, with those of the request after them. */
  imageEnv?: readonly string[] | undefined;
  privileged?: boolean | undefined;
}

export interface DevicesOptions {
  /** Where the host's /dev, /proc and libraries are looked for; '' (the machine itself) unless told. */
  hostRoot?: string | undefined;
  /** The tree itself, instead of `hostRoot`. */
  files?: HostFiles | undefined;
  /** The container's root filesystem before its start (imageFiles()): decides where libraries go. */
  image?: HostFiles | undefined;
  /** Of the host and image, as Node names it; this machine's unless told. */
  arch?: string | undefined;
  /** Directories of CDI specs, of rising priority; /etc/cdi and /var/run/cdi unless told. */
  cdiDirectories?: readonly string[] | undefined;
}

/**
 * From what was asked (`--device`, `--gpus`, `--device-cgroup-rule`, `--privileged`) and what this machine has at this
 * moment to what changes in the container. Reads only; nothing is remembered between calls, so a driver that was
 * updated in between can't leave stale paths.
 * @throws InvalidError what was named isn't there; UnsupportedError this host or image can't
 */
export async function resolveDevices(
  request: DevicesRequest,
  options: DevicesOptions = {},
): Promise<DeviceEdits> {
  const files = rememberingFiles(options.files ?? driverFiles(options.hostRoot));
  const image = options.image && rememberingFiles(options.image);
  const edits = emptyEdits();
  if (request.privileged) {
    addAllHostDevices(edits, files);
    edits.cgroupRules = [{ allow: true, type: 'a', access: 'rwm' }];
  }
  const named = request.devices.filter((d) => isQualifiedName(d.source)).map((d) => d.source);
  for (const device of request.devices) {
    if (!isQualifiedName(device.source)) {
      addHostDevice(edits, files, device.source, device.target || device.source, device.permissions || 'rwm');
    }
  }
  if (named.length > 0) {
    const { resolveCdiDevices } = await import('./cdi/index.js');
    mergeEdits(edits, await resolveCdiDevices(named, files, options.cdiDirectories));
  }
  if (request.gpus !== undefined && request.gpus !== '') {
    const { resolveGpus } = await import('./gpus.js');
    mergeEdits(edits, await resolveGpus(request.gpus, request.imageEnv ?? [], files, image, options.arch));
  }
  for (const rule of request.deviceCgroupRules ?? []) addRule(edits, parseDeviceRule(rule));
  return edits;
}
