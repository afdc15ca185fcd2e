import type { DeviceRequest } from '../spec/index.js';
import { isQualifiedName } from './cdi/names.js';
import { parseGpusFlag } from './gpus-flag.js';

/** One entry of HostConfig.DeviceRequests, as `docker inspect` shows it. */
export interface DockerDeviceRequest {
  Driver: string;
  /** -1: all of them. */
  Count: number;
  DeviceIDs: string[] | null;
  Capabilities: string[][] | null;
  Options: Record<string, string>;
}

/** `--gpus` and CDI devices in Docker's words; null where there are none. */
export function dockerDeviceRequests(
  devices: readonly DeviceRequest[],
  gpus: string | undefined,
): DockerDeviceRequest[] | null {
  const requests: DockerDeviceRequest[] = [];
  if (gpus) {
    const { driver, devices: wanted, capabilities } = parseGpusFlag(gpus);
    requests.push({
      Driver: driver ?? '',
      Count: wanted === 'all' ? -1 : typeof wanted === 'number' ? wanted : 0,
      DeviceIDs: typeof wanted === 'object' ? wanted : null,
      Capabilities: [['gpu', ...capabilities.filter((c) => c !== 'gpu')]],
      Options: {},
    });
  }
  const named = devices.map((d) => d.source).filter(isQualifiedName);
  if (named.length > 0) {
    requests.push({ Driver: 'cdi', Count: 0, DeviceIDs: named, Capabilities: null, Options: {} });
  }
  return requests.length > 0 ? requests : null;
}
