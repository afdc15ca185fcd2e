import { readFileSync, statSync } from 'node:fs';
import { type OciRecord, STATE_VERSION, statusOf } from './containers.js';

/** What `state` prints, and `list` for each container: the standard's state, and what runc adds. */
export interface Description {
  ociVersion: string;
  id: string;
  pid: number;
  status: string;
  bundle: string;
  rootfs: string;
  created: string;
  annotations?: Record<string, string> | undefined;
  owner: string;
}

export function describe(root: string, record: OciRecord): Description {
  const status = statusOf(root, record);
  return {
    ociVersion: STATE_VERSION,
    id: record.id,
    pid: status === 'stopped' ? 0 : (record.init?.pid ?? 0),
    status,
    bundle: record.bundle,
    rootfs: record.rootfs,
    created: record.created,
    ...(record.annotations ? { annotations: record.annotations } : {}),
    owner: ownerOf(`${root}/${record.id}`),
  };
}

/** Name of the directory's owner; `#uid` where /etc/passwd has none. */
function ownerOf(directory: string): string {
  const { uid } = statSync(directory);
  if (uid === 0) return 'root';
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((l) => l.split(':')[2] === String(uid));
  return line?.split(':')[0] ?? `#${uid}`;
}
