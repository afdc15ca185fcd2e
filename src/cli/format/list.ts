import type { Io } from '../io.js';
import { alignTable } from './table.js';
import { compileTemplate } from './template.js';

/** What `printList` needs to know of one kind of thing. */
export interface ListDescription {
  /** Field → heading, for every field that a row has. */
  readonly headings: Readonly<Record<string, string>>;
  /** The template of the plain table, as `{{.ID}}\t{{.Names}}`. */
  readonly table: string;
  /** The field that `-q` prints. */
  readonly quiet: string;
}

/**
 * Prints rows as Docker does: a table, ids only, JSON lines (`json`), a Go template per row, or `table TEMPLATE`.
 * Rows are plain objects whose fields are named as Docker's; functions are methods (`{{.Label "a"}}`).
 */
export function printList(
  io: Io,
  rows: readonly Readonly<Record<string, unknown>>[],
  description: ListDescription,
  options: { format?: string | undefined; quiet?: boolean | undefined },
): void {
  const { format = 'table' } = options;
  if (options.quiet && (format === 'table' || format === 'raw')) {
    io.out(rows.map((row) => `${String(row[description.quiet])}\n`).join(''));
    return;
  }
  if (format === 'json') {
    const template = compileTemplate('{{json .}}');
    io.out(rows.map((row) => `${template.execute(row)}\n`).join(''));
    return;
  }
  if (format === 'table' || format.startsWith('table ')) {
    const template = compileTemplate(format === 'table' ? description.table : format.slice(6).trim());
    const headings = template.execute(headingRow(description.headings), true);
    const lines = rows.map((row) => template.execute(row).split('\t'));
    io.out(alignTable([headings.split('\t'), ...lines]));
    return;
  }
  const template = compileTemplate(format);
  io.out(rows.map((row) => `${template.execute(row)}\n`).join(''));
}

/** The row that makes a template print headings: every field is its heading, methods give theirs. */
function headingRow(headings: Readonly<Record<string, string>>): Record<string, unknown> {
  return {
    ...headings,
    Label: (name: unknown) => {
      const last = String(name).split('.').at(-1)!;
      return last.replace(/[-_]/g, ' ').toUpperCase();
    },
  };
}

/**
 * Prints the result of `inspect`: an indented JSON array, or a template applied to each element.
 */
export function printInspect(io: Io, values: readonly unknown[], format: string | undefined): void {
  if (format === undefined || format === '') {
    io.out(`${JSON.stringify(values, null, 4)}\n`);
    return;
  }
  const template = compileTemplate(format === 'json' ? '{{json .}}' : format);
  io.out(values.map((value) => `${template.execute(value)}\n`).join(''));
}

/** Prints one object (`version`, `info`): a template, JSON, or the given text. */
export function printObject(io: Io, value: unknown, format: string | undefined, text: () => string): void {
  if (format === undefined || format === '') io.out(text());
  else io.out(`${compileTemplate(format === 'json' ? '{{json .}}' : format).execute(value)}\n`);
}
