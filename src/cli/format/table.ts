/** Column alignment as Go's text/tabwriter does it for Docker: minimum width 10, padding 3, spaces. */

export interface TableOptions {
  /** Default 10. */
  minimumWidth?: number;
  /** Default 3. */
  padding?: number;
}

/** Characters as a terminal counts them, near enough: code points. */
const width = (text: string): number => (/^[\x20-\x7e]*$/.test(text) ? text.length : [...text].length);

/**
 * Aligns rows of cells. As with tabwriter, a column is a run of consecutive lines that have this cell and one after
 * it; the last cell of a line is not padded.
 */
export function alignTable(rows: readonly (readonly string[])[], options: TableOptions = {}): string {
  const { minimumWidth = 10, padding = 3 } = options;
  const widths = rows.map((row) => new Array<number>(Math.max(0, row.length - 1)).fill(0));
  const columns = Math.max(0, ...rows.map((row) => row.length - 1));
  for (let column = 0; column < columns; column++) {
    for (let from = 0; from < rows.length; from++) {
      if (rows[from]!.length - 1 <= column) continue;
      let to = from;
      let widest = 0;
      for (; to < rows.length && rows[to]!.length - 1 > column; to++) {
        widest = Math.max(widest, width(rows[to]![column]!));
      }
      for (let i = from; i < to; i++) widths[i]![column] = Math.max(minimumWidth, widest + padding);
      from = to;
    }
  }
  return rows
    .map(
      (row, r) =>
        `${row
          .map((cell, c) => (c < row.length - 1 ? cell + ' '.repeat(widths[r]![c]! - width(cell)) : cell))
          .join('')}\n`,
    )
    .join('');
}
