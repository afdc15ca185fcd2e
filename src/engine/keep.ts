import { type Context, signalNumber } from '../base/index.js';
import { encodeKeepConfig, STOP_WITHOUT_END } from '../kernel/index.js';
import type { ImageConfig } from '../spec/index.js';
import { eventAttributes } from './emit.js';
import { healthTimer } from './health-timer.js';
import { type LogSubject, logConfig } from './log-options.js';
import { containerPaths, eventsFile } from './paths.js';
import type { ContainerRecord } from './records.js';

/**
 * What the monitor is told about keeping a container.
 * @throws InvalidError for a log option or a stop signal that makes no sense
 */
export function keepConfig(
  ctx: Context,
  record: ContainerRecord,
  image: ImageConfig | undefined,
  given: { oomFiles: string[]; foreground: boolean },
): Uint8Array {
  const { request } = record;
  const paths = containerPaths(ctx, record.id);
  const timeout = request.stopTimeout ?? 10;
  return encodeKeepConfig({
    id: record.id,
    stateDir: paths.state,
    dataDir: paths.data,
    eventsFile: eventsFile(ctx),
    event: {
      from: record.image?.reference ?? '',
      attributes: eventAttributes(record),
    },
    log: logConfig(request.log, logSubject(record, image)),
    tty: request.tty,
    openStdin: request.interactive,
    stdinOnce: request.interactive && given.foreground,
    restart: request.restart,
    stopSignal: signalNumber(request.stopSignal ?? image?.config?.StopSignal ?? 'SIGTERM'),
    stopTimeoutMs: timeout < 0 ? STOP_WITHOUT_END : Math.round(timeout * 1000),
    dieWithRuntime: false,
    autoRemove: request.autoRemove,
    oomFiles: given.oomFiles,
    ...(record.healthcheck ? { health: healthTimer(ctx, record) } : {}),
  });
}

/** What `--log-opt` may refer to. */
function logSubject(record: ContainerRecord, image: ImageConfig | undefined): LogSubject {
  const { request } = record;
  return {
    id: record.id,
    name: record.name,
    imageName: record.image?.reference ?? '',
    imageId: record.image?.id ?? '',
    labels: { ...image?.config?.Labels, ...request.labels },
    env: [...(image?.config?.Env ?? []), ...request.env],
  };
}
