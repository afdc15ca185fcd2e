import { InvalidError } from '../../base/index.js';

/** The syntax of Go's text/template, as far as `--format` uses it: text → tree. Evaluated by template.ts. */

export type Node =
  | { kind: 'text'; text: string }
  | { kind: 'action'; pipe: Pipe }
  | { kind: 'if' | 'with' | 'range'; pipe: Pipe; body: Node[]; otherwise: Node[] }
  | { kind: 'break' }
  | { kind: 'continue' };

export interface Pipe {
  /** `$x := …`, `$i, $e := range …`; `assign` for `=`. */
  variables: string[];
  assign: boolean;
  commands: Operand[][];
}

export type Operand =
  | { kind: 'literal'; value: string | number | boolean | null }
  | { kind: 'dot' }
  | { kind: 'chain'; from: Operand; fields: string[] }
  | { kind: 'variable'; name: string }
  | { kind: 'function'; name: string }
  | { kind: 'pipe'; pipe: Pipe };

interface Token {
  kind: 'text' | 'open' | 'close' | 'field' | 'variable' | 'word' | 'literal' | 'symbol';
  text: string;
  value?: string | number;
  /** No space before it: `.A.B` against `.A .B`. */
  glued: boolean;
}

export class TemplateError extends InvalidError {
  constructor(message: string) {
    super(`template parsing error: ${message}`);
  }
}

const INSIDE =
  /\s+|"(?:[^"\\\n]|\\.)*"|`[^`]*`|'(?:[^'\\\n]|\\.)'|[+-]?(?:0x[0-9a-fA-F]+|\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)|\.[A-Za-z_][\w]*|\.|\$\w*|[A-Za-z_]\w*|:=|[|(),=]/y;

function tokens(source: string): Token[] {
  const out: Token[] = [];
  let at = 0;
  while (at < source.length) {
    const open = source.indexOf('{{', at);
    let text = open < 0 ? source.slice(at) : source.slice(at, open);
    if (open >= 0 && /^\{\{-\s/.test(source.slice(open, open + 4))) text = text.trimEnd();
    if (text !== '') out.push({ kind: 'text', text, glued: false });
    if (open < 0) break;
    at = open + 2;
    if (/^-\s/.test(source.slice(at, at + 2))) at++;

    const comment = /^\s*\/\*[\s\S]*?\*\/\s*(-?)\}\}/.exec(source.slice(at));
    if (comment) {
      at += comment[0].length;
      if (comment[1]) at += /^\s*/.exec(source.slice(at))![0].length;
      continue;
    }
    out.push({ kind: 'open', text: '{{', glued: false });
    let glued = true;
    for (;;) {
      const close = /^(\s+-)?\}\}/.exec(source.slice(at));
      if (close) {
        out.push({ kind: 'close', text: '}}', glued: false });
        at += close[0].length;
        if (close[1]) at += /^\s*/.exec(source.slice(at))![0].length;
        break;
      }
      INSIDE.lastIndex = at;
      const match = INSIDE.exec(source);
      if (!match) {
        throw new TemplateError(
          at >= source.length ? 'unclosed action' : `unexpected ${JSON.stringify(source[at])} in action`,
        );
      }
      at = INSIDE.lastIndex;
      const token = classify(match[0]);
      if (token) out.push({ ...token, glued });
      glued = token !== undefined;
    }
  }
  return out;
}

function classify(text: string): Omit<Token, 'glued'> | undefined {
  const first = text[0]!;
  if (/\s/.test(first)) return undefined;
  if (first === '"') return { kind: 'literal', text, value: unquote(text) };
  if (first === '`') return { kind: 'literal', text, value: text.slice(1, -1) };
  if (first === "'")
    return { kind: 'literal', text, value: unquote(`"${text.slice(1, -1)}"`).codePointAt(0)! };
  if (/^[+-]?\d/.test(text)) return { kind: 'literal', text, value: Number(text) };
  if (first === '.') return { kind: text === '.' ? 'symbol' : 'field', text };
  if (first === '$') return { kind: 'variable', text };
  if (/\w/.test(first)) return { kind: 'word', text };
  return { kind: 'symbol', text };
}

const ESCAPES: Record<string, string> = { n: '\n', t: '\t', r: '\r', a: '\x07', b: '\b', f: '\f', v: '\v' };

function unquote(text: string): string {
  return text
    .slice(1, -1)
    .replace(/\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.))/g, (_, x: string, u: string, c: string) =>
      x
        ? String.fromCharCode(Number.parseInt(x, 16))
        : u
          ? String.fromCharCode(Number.parseInt(u, 16))
          : (ESCAPES[c] ?? c),
    );
}

/**
 * Parses a template.
 * @throws TemplateError
 */
export function parseTemplate(source: string): Node[] {
  const list = tokens(source);
  let at = 0;

  const peek = () => list[at];
  const isSymbol = (text: string) => peek()?.kind === 'symbol' && peek()?.text === text;
  const describe = () => (at >= list.length ? 'end of template' : JSON.stringify(list[at]!.text));

  function close(): void {
    if (peek()?.kind !== 'close') throw new TemplateError(`unexpected ${describe()} in action`);
    at++;
  }

  /** Nodes up to `{{end}}` or `{{else…}}`, whose word is returned and whose `{{` is consumed. */
  function body(nested: boolean): { nodes: Node[]; stop: 'end' | 'else' | undefined } {
    const nodes: Node[] = [];
    while (at < list.length) {
      const token = list[at++]!;
      if (token.kind === 'text') {
        nodes.push({ kind: 'text', text: token.text });
        continue;
      }
      const word = peek()?.kind === 'word' ? peek()!.text : '';
      if (word === 'end' || word === 'else') {
        if (!nested) throw new TemplateError(`unexpected {{${word}}}`);
        at++;
        return { nodes, stop: word };
      }
      if (word === 'break' || word === 'continue') {
        at++;
        close();
        nodes.push({ kind: word });
      } else if (word === 'if' || word === 'with' || word === 'range') {
        at++;
        nodes.push(block(word));
      } else if (['template', 'define', 'block'].includes(word)) {
        throw new TemplateError(`{{${word}}} is not supported`);
      } else {
        const pipe = pipeline();
        close();
        nodes.push({ kind: 'action', pipe });
      }
    }
    if (nested) throw new TemplateError('unexpected end of template: {{end}} is missing');
    return { nodes, stop: undefined };
  }

  function block(kind: 'if' | 'with' | 'range'): Node {
    const pipe = pipeline();
    close();
    const first = body(true);
    let otherwise: Node[] = [];
    if (first.stop === 'end') close();
    else if (peek()?.kind === 'word' && peek()!.text === kind && kind !== 'range') {
      at++;
      otherwise = [block(kind)]; // {{else if …}} shares the {{end}}
    } else {
      close();
      const second = body(true);
      if (second.stop !== 'end') throw new TemplateError('expected {{end}}, found {{else}}');
      close();
      otherwise = second.nodes;
    }
    return { kind, pipe, body: first.nodes, otherwise };
  }

  function pipeline(): Pipe {
    const variables: string[] = [];
    let assign = false;
    const start = at;
    while (peek()?.kind === 'variable') {
      variables.push(list[at++]!.text);
      if (isSymbol(',')) {
        at++;
        continue;
      }
      if (isSymbol(':=') || isSymbol('=')) {
        assign = list[at++]!.text === '=';
        return { variables, assign, commands: commands() };
      }
      break;
    }
    at = start;
    return { variables: [], assign, commands: commands() };
  }

  function commands(): Operand[][] {
    const out: Operand[][] = [];
    for (;;) {
      const command: Operand[] = [];
      for (let next = operand(); next; next = operand()) command.push(next);
      if (command.length === 0) throw new TemplateError(`missing value before ${describe()}`);
      out.push(command);
      if (!isSymbol('|')) return out;
      at++;
    }
  }

  function operand(): Operand | undefined {
    const token = peek();
    if (!token) throw new TemplateError('unclosed action');
    let value: Operand;
    if (token.kind === 'literal') value = { kind: 'literal', value: token.value! };
    else if (token.kind === 'variable') value = { kind: 'variable', name: token.text };
    else if (token.kind === 'field')
      value = { kind: 'chain', from: { kind: 'dot' }, fields: [token.text.slice(1)] };
    else if (token.kind === 'word') value = word(token.text);
    else if (isSymbol('.')) value = { kind: 'dot' };
    else if (isSymbol('(')) {
      at++;
      value = { kind: 'pipe', pipe: pipeline() };
      if (!isSymbol(')')) throw new TemplateError(`expected ")", found ${describe()}`);
    } else return undefined;
    at++;
    while (peek()?.kind === 'field' && peek()!.glued) {
      const field = list[at++]!.text.slice(1);
      if (value.kind === 'chain') value.fields.push(field);
      else value = { kind: 'chain', from: value, fields: [field] };
    }
    return value;
  }

  function word(text: string): Operand {
    if (text === 'true' || text === 'false') return { kind: 'literal', value: text === 'true' };
    if (text === 'nil') return { kind: 'literal', value: null };
    return { kind: 'function', name: text };
  }

  return body(false).nodes;
}
