import { InvalidError, monotonicMs } from '../../base/index.js';
import type { Progress } from '../../image/index.js';
import type { Io } from '../io.js';
import { humanSize } from './units.js';

export type ProgressMode = 'auto' | 'tty' | 'plain' | 'json' | 'quiet';

/** How often bars are drawn again, in milliseconds. */
const DRAW_EVERY = 100;

/**
 * Shows the progress of a pull or push: bars on a terminal, one line a change of status elsewhere, or JSON lines.
 * @returns what takes the events, and `done`, to be called at the end
 */
export function progressPrinter(
  io: Io,
  mode: ProgressMode,
): { show: ((p: Progress) => void) | undefined; done: () => void } {
  if (mode === 'quiet') return { show: undefined, done: () => {} };
  if (mode === 'json') return { show: (p) => io.out(`${JSON.stringify(p)}\n`), done: () => {} };
  if (mode === 'tty' || (mode === 'auto' && io.tty.stdout)) return bars(io);
  const last = new Map<string, string>();
  return {
    show(p) {
      if (p.status === 'Waiting' || last.get(p.id) === p.status) return;
      last.set(p.id, p.status);
      // Bytes are for bars.
      if (['Downloading', 'Pushing', 'Copying', 'Decompressing'].includes(p.status)) return;
      io.out(p.id === '' ? `${p.status}\n` : `${p.id}: ${p.status}\n`);
    },
    done() {},
  };
}

function bars(io: Io): ReturnType<typeof progressPrinter> {
  const lines = new Map<string, Progress>();
  let drawn = 0;
  let last = 0;
  const draw = () => {
    const width = io.stdout.columns ?? 80;
    const text = [...lines.values()].map((p) => `\u001b[2K${line(p, width)}\n`).join('');
    io.out((drawn > 0 ? `\u001b[${drawn}A` : '') + text);
    drawn = lines.size;
    last = monotonicMs();
  };
  return {
    show(p) {
      const key = p.id === '' ? `\0${lines.size}` : p.id;
      const changed = lines.get(key)?.status !== p.status;
      lines.set(key, p);
      if (changed || monotonicMs() - last >= DRAW_EVERY) draw();
    },
    done: draw,
  };
}

function line(p: Progress, width: number): string {
  const lead = p.id === '' ? p.status : `${p.id}: ${p.status}`;
  if (p.current === undefined || !p.total || p.current >= p.total) return lead.slice(0, width - 1);
  const sizes = `${humanSize(p.current)}/${humanSize(p.total)}`;
  const room = Math.min(50, width - lead.length - sizes.length - 6);
  if (room < 8) return `${lead} ${sizes}`.slice(0, width - 1);
  const full = Math.floor((p.current / p.total) * (room - 1));
  return `${lead} [${'='.repeat(full)}>${' '.repeat(room - 1 - full)}] ${sizes}`;
}

/** The value of `--progress`. @throws InvalidError */
export function progressMode(text: string, quiet: boolean): ProgressMode {
  const mode = (['auto', 'tty', 'plain', 'json'] as const).find((m) => m === text);
  if (mode) return quiet ? 'quiet' : mode;
  throw new InvalidError(`--progress: expected auto, tty, plain or json, received ${JSON.stringify(text)}`);
}
