// The house rules of imports, checked (docs/architecture.md has the drawing):
//   - imports between rooms run one way, and there are no cycles between files;
//   - a room is imported through its index.ts alone;
//   - src/kernel is the only room that loads the addon;
//   - only the doors (and makeContext, for its defaults) touch process-wide state.
// Types count too: a type that has to be imported upwards lives in the wrong room.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';

const root = path.resolve(import.meta.dirname, '..');
const src = path.join(root, 'src');

/** Which rooms a room may import. What isn't listed here isn't a room. */
const below = ['kernel', 'state', 'base'];
const middle = ['spec', 'plan', 'image', 'network', 'cgroup', 'devices', 'host'];
const MAY = {
  base: [],
  state: ['kernel', 'base'],
  kernel: ['state', 'base'],
  host: ['cgroup', ...below],
  spec: ['host', ...below],
  cgroup: ['host', 'spec', ...below],
  devices: ['host', 'spec', ...below],
  network: ['host', 'spec', ...below],
  image: ['host', 'spec', ...below],
  plan: ['host', 'spec', 'cgroup', 'devices', 'network', 'image', ...below],
  engine: [...middle, ...below],
  build: ['engine', ...middle, ...below],
  lab: ['engine', ...middle, ...below],
  library: ['engine', ...middle, ...below],
  oci: ['engine', ...middle, ...below],
  cli: ['engine', 'build', 'lab', 'oci', ...middle, ...below],
};
const DOORS = new Set([
  'cli/boot.ts',
  'cli/main.ts',
  'oci/main.ts',
  'network/names/main.ts',
  'index.ts',
  'oci/oci.ts',
  'base/context.ts',
]);

const problems = [];
const files = readdirSync(src, { recursive: true, withFileTypes: true })
  .filter((e) => e.isFile() && e.name.endsWith('.ts') && !e.name.endsWith('.d.ts'))
  .map((e) => path.relative(src, path.join(e.parentPath, e.name)))
  .sort();

/** Import specifiers of a source with their lines, `import()` and types included. */
function importsOf(source) {
  const found = [];
  const visit = (node) => {
    const at =
      ts.isImportDeclaration(node) || ts.isExportDeclaration(node)
        ? node.moduleSpecifier
        : ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword
          ? node.arguments[0]
          : ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)
            ? node.argument.literal
            : undefined;
    if (at && ts.isStringLiteral(at)) {
      const typeOnly =
        ts.isImportTypeNode(node) ||
        (ts.isImportDeclaration(node) && node.importClause?.isTypeOnly === true) ||
        (ts.isExportDeclaration(node) && node.isTypeOnly);
      const lazy = ts.isCallExpression(node);
      found.push({
        to: at.text,
        line: source.getLineAndCharacterOfPosition(at.pos).line + 1,
        typeOnly,
        lazy,
      });
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

const room = (file) => (file.includes('/') ? file.slice(0, file.indexOf('/')) : '');
const graph = new Map();

for (const file of files) {
  const text = readFileSync(path.join(src, file), 'utf8');
  const source = ts.createSourceFile(file, text, ts.ScriptTarget.Latest);
  const here = room(file);
  if (here !== '' && !(here in MAY))
    problems.push(`src/${file}: src/${here} is not a room; add it to scripts/check-imports.mjs`);
  const edges = [];
  graph.set(file, edges);
  for (const { to, line, typeOnly, lazy } of importsOf(source)) {
    const where = `src/${file}:${line}`;
    if (!to.startsWith('.')) continue;
    const target = path.relative(src, path.resolve(src, path.dirname(file), to));
    if (to.endsWith('.json')) continue;
    if (target.startsWith('..')) {
      problems.push(`${where}: imports ${to}, outside of src`);
      continue;
    }
    const tsFile = target.replace(/\.js$/, '.ts');
    if (!to.endsWith('.js') || !existsSync(path.join(src, tsFile))) {
      problems.push(`${where}: imports ${to}, which is not a source file written with its .js ending`);
      continue;
    }
    const there = room(tsFile);
    // Types alone are gone at run time, and a lazy import closes no cycle of evaluation: neither makes an edge.
    if (!typeOnly && !lazy) edges.push(tsFile);
    if (there === here) continue;
    // The library's door names types of any room; what it does comes from base and library.
    if (here === '' && typeOnly) continue;
    if (here === '' ? !typeOnly && there !== 'base' && there !== 'library' : !MAY[here]?.includes(there)) {
      problems.push(`${where}: ${here} may not import ${there || 'index.ts'}`);
    } else if (
      tsFile !== `${there}/index.ts` &&
      !((here === 'cli' || here === 'oci') && there === 'engine')
    ) {
      // A command loads its verb alone: the engine's index would evaluate all of them, and starting Node is most of
      // what a command costs.
      problems.push(`${where}: imports ${tsFile}; go through ${there}/index.ts`);
    }
  }
  if (here !== 'kernel' && /nsbox\.node\b|process\.dlopen/.test(text)) {
    problems.push(`src/${file}: loads the addon; only src/kernel does`);
  }
  if (!DOORS.has(file)) {
    const code = text
      .replace(/'[^'\n]*'/g, (c) => c.replace(/./g, ' '))
      .replace(/\/\*[\s\S]*?\*\/|(?<![:'"`])\/\/.*$/gm, (c) => c.replace(/[^\n]/g, ' '));
    // A variable of that name is the spec's process, not Node's.
    const own = /\b(?:const|let)\s+(?:\{[^}]*\bprocess\b[^}]*\}|process\b)|[(,]\s*process\s*[:,)?]/.test(
      code,
    );
    for (const m of own
      ? []
      : code.matchAll(/(?<![.\w])process\.(env|cwd|exit|chdir|umask)\b|\bconsole\.\w+/g)) {
      const line = code.slice(0, m.index).split('\n').length;
      problems.push(`src/${file}:${line}: ${m[0]} is process-wide; take it from the Context or the Io`);
    }
  }
}

// Cycles between files: a depth-first search that reports each back edge once.
const state = new Map();
const stack = [];
function walk(file) {
  state.set(file, 'open');
  stack.push(file);
  for (const next of graph.get(file) ?? []) {
    if (state.get(next) === 'open') {
      problems.push(`cycle: ${[...stack.slice(stack.indexOf(next)), next].join(' → ')}`);
    } else if (!state.has(next)) walk(next);
  }
  stack.pop();
  state.set(file, 'done');
}
for (const file of files) if (!state.has(file)) walk(file);

for (const p of problems) console.log(p);
process.exit(problems.length ? 1 : 0);
