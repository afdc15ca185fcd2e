import { InvalidError } from '../../base/index.js';
import { type Node, type Operand, type Pipe, parseTemplate, TemplateError } from './template-parse.js';

/** Go's text/template over plain JavaScript values, as `--format` uses it. */

export interface Template {
  /**
   * @param heading functions that change a value leave it as it is: for the headings of a table
   * @throws TemplateError where a field or function doesn't exist
   */
  execute(data: unknown, heading?: boolean): string;
}

/** A field that takes arguments, as `{{.Label "a"}}`. */
export type Method = (...args: unknown[]) => unknown;

/**
 * Compiles a template. `\t` and `\n` as two characters mean a tab and a line, as with Docker.
 * @throws TemplateError
 */
export function compileTemplate(source: string): Template {
  const nodes = parseTemplate(source.replaceAll('\\t', '\t').replaceAll('\\n', '\n'));
  check(nodes);
  return {
    execute(data, heading = false) {
      const run = new Run(data, heading);
      run.nodes(nodes, data);
      return run.output;
    },
  };
}

class Leave {
  constructor(readonly kind: 'break' | 'continue') {}
}

class Run {
  output = '';
  #variables: { name: string; value: unknown }[];

  constructor(
    data: unknown,
    readonly heading: boolean,
  ) {
    this.#variables = [{ name: '$', value: data }];
  }

  nodes(nodes: readonly Node[], dot: unknown): void {
    const depth = this.#variables.length;
    try {
      for (const node of nodes) this.#node(node, dot);
    } finally {
      this.#variables.length = depth;
    }
  }

  #node(node: Node, dot: unknown): void {
    if (node.kind === 'text') this.output += node.text;
    else if (node.kind === 'break' || node.kind === 'continue') throw new Leave(node.kind);
    else if (node.kind === 'action') {
      const value = this.#pipe(node.pipe, dot);
      if (node.pipe.variables.length === 0) this.output += show(value);
    } else if (node.kind === 'range') this.#range(node, dot);
    else {
      const depth = this.#variables.length;
      const value = this.#pipe(node.pipe, dot);
      this.nodes(
        truth(value) ? node.body : node.otherwise,
        node.kind === 'with' && truth(value) ? value : dot,
      );
      this.#variables.length = depth;
    }
  }

  #range(node: Extract<Node, { kind: 'if' | 'with' | 'range' }>, dot: unknown): void {
    const depth = this.#variables.length;
    const names = node.pipe.variables;
    const value = this.#pipe({ ...node.pipe, variables: [] }, dot);
    const entries = entriesOf(value);
    try {
      for (const [key, element] of entries) {
        if (names.length === 1) this.#variables.push({ name: names[0]!, value: element });
        if (names.length > 1) {
          this.#variables.push({ name: names[0]!, value: key }, { name: names[1]!, value: element });
        }
        try {
          this.nodes(node.body, element);
        } catch (leave) {
          if (!(leave instanceof Leave)) throw leave;
          if (leave.kind === 'break') break;
        } finally {
          this.#variables.length = depth;
        }
      }
    } finally {
      this.#variables.length = depth;
    }
    if (entries.length === 0) this.nodes(node.otherwise, dot);
  }

  #pipe(pipe: Pipe, dot: unknown): unknown {
    let value: unknown;
    pipe.commands.forEach((command, i) => {
      value = this.#command(command, dot, i === 0 ? [] : [value]);
    });
    for (const name of pipe.variables) {
      const known = pipe.assign ? this.#variables.findLast((v) => v.name === name) : undefined;
      if (known) known.value = value;
      else if (pipe.assign) throw new TemplateError(`undefined variable "${name}"`);
      else this.#variables.push({ name, value });
    }
    return value;
  }

  #command([first, ...rest]: readonly Operand[], dot: unknown, piped: unknown[]): unknown {
    const args = () => [...rest.map((o) => this.#operand(o, dot)), ...piped];
    if (first!.kind === 'function') return this.#call(first!.name, args());
    const value = this.#operand(first!, dot, rest.length + piped.length > 0 ? args : undefined);
    if (rest.length + piped.length > 0 && first!.kind !== 'chain') {
      throw new TemplateError(`can't give argument to non-function ${show(value)}`);
    }
    return value;
  }

  #call(name: string, args: unknown[]): unknown {
    return this.heading && UNCHANGED_IN_HEADINGS.has(name)
      ? args.find((a) => typeof a === 'string')
      : call(name, args);
  }

  #operand(operand: Operand, dot: unknown, args?: () => unknown[]): unknown {
    switch (operand.kind) {
      case 'literal':
        return operand.value;
      case 'dot':
        return dot;
      case 'variable': {
        const found = this.#variables.findLast((v) => v.name === operand.name);
        if (!found) throw new TemplateError(`undefined variable "${operand.name}"`);
        return found.value;
      }
      case 'function':
        return this.#call(operand.name, []);
      case 'pipe':
        return this.#pipe(operand.pipe, dot);
      case 'chain': {
        let value = this.#operand(operand.from, dot);
        operand.fields.forEach((field, i) => {
          value = member(value, field, i === operand.fields.length - 1 ? args : undefined);
        });
        return value;
      }
    }
  }
}

/** A field of a value, called where it is a method. One that is there without a value (undefined) is nil: JSON omits it. */
function member(value: unknown, field: string, args: (() => unknown[]) | undefined): unknown {
  if (value === null || value === undefined) {
    throw new TemplateError(`executing "" at <.${field}>: nil pointer evaluating .${field}`);
  }
  const found =
    typeof value === 'object' && !Array.isArray(value) && Object.hasOwn(value, field)
      ? ((value as Record<string, unknown>)[field] ?? null)
      : undefined;
  if (found === undefined) {
    const known = typeof value === 'object' && !Array.isArray(value) ? Object.keys(value) : [];
    const list = known.length > 0 && known.length <= 40 ? `; there are ${known.join(', ')}` : '';
    throw new TemplateError(`executing "" at <.${field}>: there is no field "${field}"${list}`);
  }
  if (typeof found === 'function') return (found as Method)(...(args?.() ?? []));
  if (args)
    throw new TemplateError(`executing "" at <.${field}>: ${field} has arguments but cannot be invoked`);
  return found;
}

function entriesOf(value: unknown): [unknown, unknown][] {
  if (value === null || value === undefined) return [];
  if (Array.isArray(value)) return value.map((v, i) => [i, v]);
  if (typeof value === 'number') return Array.from({ length: value }, (_, i) => [i, i]);
  if (typeof value === 'object') {
    return Object.entries(value).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  }
  throw new TemplateError(`range can't iterate over ${show(value)}`);
}

/** Go's notion of truth: not the zero value and not empty. */
function truth(value: unknown): boolean {
  if (value === null || value === undefined) return false;
  if (typeof value === 'object')
    return Array.isArray(value) ? value.length > 0 : Object.keys(value).length > 0;
  return Boolean(value);
}

/** A value as Go's %v prints it. */
export function show(value: unknown): string {
  if (value === undefined) return '<no value>';
  if (value === null) return '<nil>';
  if (Array.isArray(value)) return `[${value.map(show).join(' ')}]`;
  if (typeof value === 'object') {
    return `map[${entriesOf(value)
      .map(([k, v]) => `${String(k)}:${show(v)}`)
      .join(' ')}]`;
  }
  return String(value);
}

function length(value: unknown): number {
  if (typeof value === 'string') return Buffer.byteLength(value);
  if (Array.isArray(value)) return value.length;
  if (typeof value === 'object' && value !== null) return Object.keys(value).length;
  throw new TemplateError(`len of ${show(value)}`);
}

function index(value: unknown, ...keys: unknown[]): unknown {
  for (const key of keys) {
    if (value === null || value === undefined) throw new TemplateError('index of untyped nil');
    if (Array.isArray(value)) {
      if (typeof key !== 'number' || key < 0 || key >= value.length) {
        throw new TemplateError(`index out of range: ${show(key)}`);
      }
      value = value[key];
    } else if (typeof value === 'string') value = Buffer.from(value)[Number(key)];
    else if (typeof value === 'object') {
      value = Object.hasOwn(value, String(key)) ? (value as Record<string, unknown>)[String(key)] : '';
    } else throw new TemplateError(`can't index ${show(value)}`);
  }
  return value;
}

function order(a: unknown, b: unknown): number {
  if (typeof a !== typeof b || (typeof a !== 'number' && typeof a !== 'string')) {
    throw new TemplateError(`incompatible types for comparison: ${show(a)} and ${show(b)}`);
  }
  return a < (b as typeof a) ? -1 : a > (b as typeof a) ? 1 : 0;
}

/** Go's printf for the verbs that templates use. */
function printf(format: unknown, ...args: unknown[]): string {
  let i = 0;
  return String(format).replace(
    /%([-+0 #]*)(\d+)?(?:\.(\d+))?([vsdqtxXfgc%])/g,
    (_, flags, width, precision, verb) => {
      if (verb === '%') return '%';
      if (i >= args.length) return `%!${verb}(MISSING)`;
      const value = args[i++];
      let text: string;
      if (verb === 'q') text = JSON.stringify(show(value));
      else if (verb === 'x' || verb === 'X') {
        text = typeof value === 'number' ? value.toString(16) : Buffer.from(show(value)).toString('hex');
        if (verb === 'X') text = text.toUpperCase();
      } else if (verb === 'f') text = Number(value).toFixed(precision === undefined ? 6 : Number(precision));
      else if (verb === 'c') text = String.fromCodePoint(Number(value));
      else
        text = precision === undefined ? show(value) : [...show(value)].slice(0, Number(precision)).join('');
      if (width === undefined) return text;
      const pad = flags.includes('0') && !flags.includes('-') && typeof value === 'number' ? '0' : ' ';
      return flags.includes('-') ? text.padEnd(Number(width)) : text.padStart(Number(width), pad);
    },
  );
}

/** JSON as Go writes it: no HTML escaping, keys in the order of the value. */
const json = (value: unknown): string => JSON.stringify(plain(value)) ?? 'null';

/** Leaves the methods of a row out. */
function plain(value: unknown): unknown {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? Object.fromEntries(Object.entries(value).filter(([, v]) => typeof v !== 'function'))
    : value;
}

const FUNCTIONS: Record<string, Method> = {
  json,
  join: (list, separator) => (Array.isArray(list) ? list.map(show).join(String(separator)) : show(list)),
  split: (text, separator) => String(text).split(String(separator)),
  upper: (text) => String(text).toUpperCase(),
  lower: (text) => String(text).toLowerCase(),
  title: (text) =>
    String(text).replace(/(^|[^\p{L}\p{N}'])(\p{L})/gu, (_, a: string, b: string) => a + b.toUpperCase()),
  trim: (text) => String(text).trim(),
  truncate: (text, n) => [...String(text)].slice(0, Number(n)).join(''),
  pad: (text, before, after) =>
    text === '' ? '' : ' '.repeat(Number(before)) + String(text) + ' '.repeat(Number(after)),
  println: (...args) => `${args.map(show).join(' ')}\n`,
  print: (...args) =>
    args.reduce<string>((out, arg, i) => {
      const space = i > 0 && typeof arg !== 'string' && typeof args[i - 1] !== 'string';
      return `${out}${space ? ' ' : ''}${show(arg)}`;
    }, ''),
  printf,
  len: length,
  index,
  slice: (value, from = 0, to) =>
    (value as string | unknown[]).slice(Number(from), to === undefined ? undefined : Number(to)),
  not: (value) => !truth(value),
  and: (...args) => args.find((a) => !truth(a)) ?? args.at(-1),
  or: (...args) => args.find((a) => truth(a)) ?? args.at(-1),
  eq: (a, ...rest) => rest.some((b) => a === b),
  ne: (a, b) => a !== b,
  lt: (a, b) => order(a, b) < 0,
  le: (a, b) => order(a, b) <= 0,
  gt: (a, b) => order(a, b) > 0,
  ge: (a, b) => order(a, b) >= 0,
};

/** Of these a heading passes through: `{{json .ID}}` is headed CONTAINER ID. */
const UNCHANGED_IN_HEADINGS = new Set([
  'json',
  'split',
  'join',
  'title',
  'lower',
  'upper',
  'truncate',
  'pad',
]);

function call(name: string, args: unknown[]): unknown {
  const f = Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name] : undefined;
  if (!f) throw new TemplateError(`function "${name}" not defined`);
  try {
    return f(...args);
  } catch (error) {
    if (error instanceof InvalidError) throw error;
    throw new TemplateError(
      `error calling ${name}: ${error instanceof Error ? error.message : String(error)}`,
    );
  }
}

/** Refuses unknown functions before anything is printed. */
function check(nodes: readonly Node[]): void {
  const operands = (list: readonly Operand[]): void => {
    for (const o of list) {
      if (o.kind === 'function' && !Object.hasOwn(FUNCTIONS, o.name)) call(o.name, []);
      if (o.kind === 'chain') operands([o.from]);
      if (o.kind === 'pipe') for (const c of o.pipe.commands) operands(c);
    }
  };
  for (const node of nodes) {
    if ('pipe' in node) for (const c of node.pipe.commands) operands(c);
    if ('body' in node) {
      check(node.body);
      check(node.otherwise);
    }
  }
}
