import { closeSync, constants, fstatSync, openSync, writeSync } from 'node:fs';
import path from 'node:path';
import { ConflictError, InvalidError, NsboxError } from '../../base/index.js';
import { hostFacts } from '../../host/index.js';
import { writeFileAtomic } from '../../state/index.js';
import { type OciRecord, statusOf } from '../containers.js';
import { log } from '../log.js';
import type { Runtime } from '../runtime.js';
import { loadSpec } from '../spec-file.js';
import type { CriuOptions, CriuResponse } from './message.js';
import { type CheckpointOptions, logPath } from './options.js';
import {
  bindsOf,
  DESCRIPTORS,
  EMPTY_NETWORK,
  externalNamespace,
  groupBindsOf,
  mountPointOf,
  mountsBelow,
  namespacesOutside,
  stdioKeys,
} from './outside.js';
import { checkCriu, findCriu, refused, spawnCriu } from './session.js';

const LOG = 'dump.log';
/** From here on criu tells that its page server is ready by a notification. */
const NOTIFIES_READY = 31500;
/** External pid namespaces; network namespaces came before. */
const EXTERNAL_PID = 31500;

/** criu's configuration file for containers: the annotation's, or the one that runc's users have. */
export function configFileOf(annotations: Record<string, string> | undefined): string | undefined {
  const given = annotations?.['org.criu.config'];
  return given === undefined ? '/etc/criu/runc.conf' : given || undefined;
}

/**
 * Writes the processes of a container to images. They end with it, unless they shall go on.
 * @throws ConflictError where it doesn't run; NsboxError with the last lines of criu's log
 */
export async function dump(runtime: Runtime, record: OciRecord, options: CheckpointOptions): Promise<void> {
  const status = statusOf(runtime.root, record);
  if (status === 'created' || status === 'stopped' || status === 'creating' || !record.init) {
    throw new ConflictError(`Container cannot be checkpointed in ${status} state`);
  }
  checkStatusFd(options);
  const criu = findCriu(runtime);
  const version = await checkCriu(criu, { memTrack: options.preDump, lazyPages: options.lazyPages });
  const spec = loadSpec(runtime.root, record.id);
  const { pid } = record.init;
  const external: string[] = [];
  for (const n of namespacesOutside(spec)) {
    if (!n.external) continue;
    if (n.kind === 'pid' && version < EXTERNAL_PID) {
      throw new NsboxError(
        'UNSUPPORTED',
        'criu lacks support for external pid namespace during checkpointing process (old criu version?)',
      );
    }
    external.push(externalNamespace(n.external, n.path));
  }
  if (!options.preDump) {
    const root = `/proc/${pid}/root`;
    const binds = bindsOf(spec).map((m) => mountPointOf(root, m.destination));
    const known = (spec.mounts ?? []).map((m) => mountPointOf(root, m.destination));
    for (const point of [...binds, ...mountsBelow(pid, binds, known)])
      external.push(`mnt[${point}]:${point}`);
    for (const { target } of groupBindsOf(spec, record, hostFacts(runtime.ctx).cgroup)) {
      external.push(`mnt[${target}]:${target}`);
    }
    const descriptors = stdioKeys(pid, record.stdio ?? []);
    external.push(...new Set(descriptors.filter((key) => /^(file|tty)\[/.test(key))));
    writeFileAtomic(path.join(options.imagePath, DESCRIPTORS), JSON.stringify(descriptors), {
      durable: false,
      mode: 0o600,
    });
  }
  const opened: number[] = [];
  const directory = (name: string) => {
    const fd = openSync(name, constants.O_RDONLY | constants.O_DIRECTORY);
    opened.push(fd);
    return fd;
  };
  try {
    const request: CriuOptions = {
      imagesDirFd: directory(options.imagePath),
      workDirFd: options.workPath ? directory(options.workPath) : undefined,
      pid,
      leaveRunning: options.leaveRunning,
      extUnixSk: options.extUnixSk,
      tcpEstablished: options.tcpEstablished,
      ...(options.tcpSkipInFlight ? { tcpSkipInFlight: true } : {}),
      ...(options.linkRemap ? { linkRemap: true } : {}),
      shellJob: options.shellJob,
      fileLocks: options.fileLocks,
      logLevel: 4,
      logFile: LOG,
      pageServer: options.pageServer,
      notifyScripts: true,
      root: record.rootfs,
      parentImage: options.parentPath,
      ...(options.parentPath || options.preDump ? { trackMem: true } : {}),
      autoDedup: options.autoDedup,
      lazyPages: options.lazyPages,
      statusFd: options.lazyPages && version < NOTIFIES_READY ? options.statusFd : undefined,
      manageCgroups: true,
      manageCgroupsMode: options.manageCgroupsMode,
      freezeCgroup: record.groups.v1['freezer'] ?? record.groups.unified ?? undefined,
      external,
      emptyNamespaces: EMPTY_NETWORK,
      orphanPtsMaster: true,
      configFile: configFileOf(spec.annotations),
    };
    log(runtime.log, 'debug', `criu ${version} dumps process ${pid} to ${options.imagePath}`);
    const session = await spawnCriu(criu);
    let response: CriuResponse | undefined;
    try {
      response = await session.ask(
        { type: options.preDump ? 'preDump' : 'dump', options: request },
        async (script) => {
          if (script === 'status-ready') tellReady(options);
        },
      );
    } catch (error) {
      throw refusal(error, options);
    } finally {
      session.close();
      await session.ended;
    }
    if (!response.success)
      throw refused(options.preDump ? 'PRE_DUMP' : 'DUMP', response, logPath(options, LOG));
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

/** criu went away without an answer: its log may say why. */
function refusal(error: unknown, options: CheckpointOptions): NsboxError {
  if (!(error instanceof NsboxError) || error.code !== 'LAUNCH_FAILED') throw error;
  return refused('DUMP', undefined, logPath(options, LOG));
}

/** @throws InvalidError in runc's words for an fd that can't be written */
function checkStatusFd(options: CheckpointOptions): void {
  const fd = options.statusFd;
  if (!options.lazyPages || fd === undefined || fd < 0) return;
  try {
    fstatSync(fd);
    writeSync(fd, '');
  } catch (cause) {
    throw new InvalidError(`invalid --status-fd argument ${fd}: not an open file that can be written`, {
      cause,
    });
  }
}

/** Tells the caller that the pages can be fetched now. */
function tellReady(options: CheckpointOptions): void {
  const fd = options.statusFd;
  if (fd === undefined || fd < 0) return;
  writeSync(fd, Buffer.alloc(1));
  closeSync(fd);
}
