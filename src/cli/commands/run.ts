import { type Context, InvalidError, NsboxError } from '../../base/index.js';
// Named, not as a whole: the bundle then loads nothing else of the engine (scripts/bundle.mjs).
import {
  type Attachment,
  addVolumesFrom,
  attachSocket,
  type ContainerRecord,
  createContainer,
  finishRemoval,
  removeContainer,
  type StepTime,
  startContainer,
} from '../../engine/index.js';
import type { LaunchPlan } from '../../plan/index.js';
import { defineCommand } from '../command.js';
import { attachStreams, type Streams, stayWith } from '../foreground.js';
import type { Io } from '../io.js';
import { refuseIdFile, writeIdFile } from '../request/cidfile.js';
import { createFlags } from '../request/flags.js';
import { type CreateInput, parseRequest } from '../request/request.js';
import { terminalSize } from '../terminal.js';

export const command = defineCommand({
  name: 'run',
  aliases: ['container run'],
  usage: '[OPTIONS] IMAGE [COMMAND] [ARG...]',
  summary: 'Create and run a new container from an image',
  options: {
    ...createFlags,
    detach: { type: 'bool', short: 'd', help: 'Run container in background and print container ID' },
    'detach-keys': { type: 'string', help: 'Override the key sequence for detaching a container' },
    explain: {
      type: 'string',
      bare: 'text',
      value: 'text|json',
      help: 'Print what would be done, step by step, and do nothing',
    },
    pidfile: { type: 'string', help: "Write the host's PID of the container's first process to the file" },
    'sig-proxy': { type: 'bool', help: 'Proxy received signals to the process', default: true },
    trace: { type: 'bool', help: 'Print each step of the launch with its time to standard error' },
  },
  args: { min: 1 },
  flagsFirst: true,
  failure: 125,
  async run(input, io, ctx) {
    const { flags } = input;
    if (flags.explain !== undefined) {
      const { explain } = await import('./explain.js');
      return explain(input as unknown as CreateInput, flags.explain, io, ctx);
    }
    const streams = wantedStreams(flags.attach, flags.detach, flags.interactive);
    if (flags.tty && flags.interactive && streams.stdin && !io.tty.stdin) {
      throw new InvalidError('the input device is not a TTY', { hint: 'leave -t out', exitCode: 1 });
    }
    refuseIdFile(flags.cidfile, ctx);
    refuseIdFile(flags.pidfile, ctx);
    const request = parseRequest(input as unknown as CreateInput, ctx);

    addVolumesFrom(ctx, request, flags['volumes-from']);
    const record = await createContainer(ctx, request, { startsNow: true });
    let attachment: Attachment | undefined;
    const trace: StepTime[] = [];
    let plan: LaunchPlan | undefined;
    try {
      writeIdFile(flags.cidfile, record.id, ctx);
      const launched = await startContainer(ctx, record, {
        terminalSize: flags.tty ? terminalSize(io) : undefined,
        ...(flags.detach
          ? {}
          : {
              // What attaching needs is loaded while the kernel works.
              meanwhile: () => {
                if (streams.stdin) void import('node:net');
                attachStreams(io, streams, flags.tty);
              },
              attach: async (socket: string) => {
                attachment = await attachSocket(socket, {
                  ...attachStreams(io, streams, flags.tty),
                  tty: flags.tty,
                  size: flags.tty ? terminalSize(io) : undefined,
                  detachKeys: flags['detach-keys'],
                });
              },
            }),
        ...(flags.trace
          ? {
              onTrace: (time: StepTime, carried: LaunchPlan) => {
                trace.push(time);
                plan = carried;
              },
            }
          : {}),
      });
      if (flags.pidfile !== undefined) writeIdFile(flags.pidfile, String(launched?.pid ?? ''), ctx);
      if (plan) await printTrace(io, plan, trace);
      if (flags.detach || !attachment) {
        io.out(`${record.id}\n`);
        launched?.monitor.close();
        return 0;
      }
      const code = await stayWith(io, attachment, {
        tty: flags.tty,
        stdin: streams.stdin,
        sigProxy: flags['sig-proxy'],
        name: record.name,
      });
      const end = await attachment.done;
      if (end.reason !== 'exit') launched?.monitor.close();
      else if (request.autoRemove) {
        await launched?.exit; // the monitor removes the container, and goes
        await cleanUp(ctx, record);
      }
      return code;
    } catch (error) {
      attachment?.detach();
      if (request.autoRemove || refused(error)) await removeQuietly(ctx, record);
      throw error;
    }
  },
});

/** As Docker: without -a, stdout and stderr, and stdin with -i. */
function wantedStreams(attach: readonly string[], detach: boolean, interactive: boolean): Streams {
  if (detach && attach.length > 0) throw new InvalidError('Conflicting options: -a and -d');
  const words = attach.map((word) => word.toLowerCase());
  const unknown = words.find((word) => !['stdin', 'stdout', 'stderr'].includes(word));
  if (unknown !== undefined) {
    throw new InvalidError(`valid streams are STDIN, STDOUT and STDERR (not '${unknown}')`);
  }
  if (words.length === 0) return { stdin: interactive, stdout: true, stderr: true };
  return {
    stdin: interactive && words.includes('stdin'),
    stdout: words.includes('stdout'),
    stderr: words.includes('stderr'),
  };
}

/** What the monitor doesn't do for a --rm container: addresses and anonymous volumes. */
async function cleanUp(ctx: Context, record: ContainerRecord): Promise<void> {
  await finishRemoval(ctx, record, true);
}

/** The failure of the start is what the person must see. */
async function removeQuietly(ctx: Context, record: ContainerRecord): Promise<void> {
  try {
    await removeContainer(ctx, record, { force: true, volumes: true });
  } catch (error) {
    if (!(error instanceof NsboxError)) throw error;
  }
}

/** What `create` would have refused leaves no container. */
function refused(error: unknown): boolean {
  return (
    error instanceof NsboxError && ['INVALID_ARGUMENT', 'INVALID_SPEC', 'UNSUPPORTED'].includes(error.code)
  );
}

async function printTrace(io: Io, plan: LaunchPlan, times: readonly StepTime[]): Promise<void> {
  const { explainSteps } = await import('../../plan/index.js');
  const titles = new Map(explainSteps(plan).map((step) => [`${step.list} ${step.index}`, step.title]));
  const first = [...times].sort((a, b) => (a.start < b.start ? -1 : 1))[0]?.start ?? 0n;
  const micro = (ns: bigint) => (Number(ns) / 1000).toFixed(1);
  io.err('      at µs    took µs  step\n');
  for (const t of times) {
    const title = titles.get(`${t.list} ${t.step}`) ?? `step ${t.step}`;
    io.err(
      `${micro(t.start - first).padStart(11)} ${micro(t.end - t.start).padStart(10)}  ${t.list}: ${title}\n`,
    );
  }
}
