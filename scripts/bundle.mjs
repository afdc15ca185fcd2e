// One CommonJS file of which only what a command needs is ever looked at. esbuild splits the program into chunks by which
// command needs what; here each chunk becomes a function in one file, called when it is first asked for. V8 compiles nothing of
// a function that isn't called, and its byte-code cache holds nothing of it (src/cli/boot.ts).
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { build } from 'esbuild';
import typescript from 'typescript';

/** What all bundles of ours are built with. */
export const COMMON = { platform: 'node', target: 'node20', logLevel: 'warning', legalComments: 'none' };

/** A program in CommonJS, small. */
export const MINIFIED = {
  ...COMMON,
  bundle: true,
  minifySyntax: true,
  minifyWhitespace: true,
  minifyIdentifiers: true,
  // Read only to name the lines of a --debug stack, see src/base/stack.ts.
  sourcemap: 'external',
  sourcesContent: false,
  define: { 'import.meta.dirname': '__dirname' },
};

/**
 * @param entry the program's main file
 * @param out the file to write; its source map goes beside it
 */
export async function bundleLazily(entry, out) {
  const directory = path.dirname(out);
  const { outputFiles } = await build({
    entryPoints: { main: entry },
    outdir: directory,
    write: false,
    ...MINIFIED,
    splitting: true,
    format: 'esm',
    chunkNames: 'c-[hash]',
  });
  const maps = new Map();
  const chunks = [];
  for (const file of outputFiles) {
    const name = `./${path.basename(file.path)}`;
    if (name.endsWith('.map')) maps.set(name.slice(0, -4), JSON.parse(file.text));
    else chunks.push({ name, text: file.text });
  }
  const sections = [];
  let text = '"use strict";var $chunks={\n';
  for (const { name, text: module } of chunks) {
    const { imports, body, exports } = commonJs(name, module);
    text += `${JSON.stringify(name)}:function($exports){${imports}`;
    const lines = text.split('\n');
    sections.push({ offset: { line: lines.length - 1, column: lines.at(-1).length }, map: maps.get(name) });
    text += `${body}${exports}},\n`;
  }
  text += `};
var $loaded={};
function $load(name){var m=$loaded[name];if(m===undefined){m=$loaded[name]={};$chunks[name](m)}return m}
function $mport(name){return new Promise(function(done){done($chunks[name]===undefined?require(name):$load(name))})}
$load("./main.js");
`;
  // Plain ASCII, so that it is read without decoding: one byte a character.
  if (/[^\x00-\x7f]/.test(text)) throw new Error(`${out}: not plain ASCII`);
  writeFileSync(out, text);
  writeFileSync(`${out}.map`, JSON.stringify({ version: 3, file: path.basename(out), sections }));
}

/**
 * A chunk's statements of import and export in CommonJS' terms. What remains keeps its place, so that its source map holds.
 * esbuild's chunks never import each other in a circle, and nothing exported is assigned to later (refuseAssignedExports).
 */
function commonJs(name, text) {
  const source = typescript.createSourceFile(name, text, typescript.ScriptTarget.ESNext, true);
  const { SyntaxKind } = typescript;
  let imports = '';
  let exports = '';
  const cut = [];
  for (const s of source.statements) {
    if (s.kind === SyntaxKind.ImportDeclaration) {
      imports += importStatement(s);
      cut.push([s.getStart(), s.end, '']);
    } else if (s.kind === SyntaxKind.ExportDeclaration && !s.moduleSpecifier) {
      for (const e of s.exportClause.elements) {
        const local = (e.propertyName ?? e.name).text;
        exports += `;$exports.${e.name.text}=${local}`;
      }
      cut.push([s.getStart(), s.end, '']);
    } else if (
      s.kind === SyntaxKind.ExportDeclaration ||
      s.modifiers?.some((m) => m.kind === SyntaxKind.ExportKeyword)
    ) {
      throw new Error(`${name}: an export of a kind that esbuild does not write`);
    }
  }
  const visit = (node) => {
    if (node.kind === SyntaxKind.ImportKeyword && node.parent.kind === SyntaxKind.CallExpression) {
      cut.push([node.getStart(), node.end, '$mport']);
    }
    typescript.forEachChild(node, visit);
  };
  visit(source);
  let body = text;
  for (const [from, to, by] of cut) body = body.slice(0, from) + by.padEnd(to - from) + body.slice(to);
  return { imports, body, exports };
}

function importStatement(s) {
  const from = s.moduleSpecifier.text;
  const value = from.startsWith('./') ? `$load("${from}")` : `require("${from}")`;
  const clause = s.importClause;
  if (!clause) return `${value};`;
  let out = '';
  if (clause.name) out += `var ${clause.name.text}=${value};`; // of a module in CommonJS: Node's own
  const bindings = clause.namedBindings;
  if (bindings?.name) out += `var ${bindings.name.text}=${value};`;
  else if (bindings) {
    const names = bindings.elements.map((e) =>
      e.propertyName ? `${e.propertyName.text}:${e.name.text}` : e.name.text,
    );
    out += `var{${names.join(',')}}=${value};`;
  }
  return out;
}

/** The package's sources must not assign to what they export: a chunk hands out values, not variables. */
export function refuseAssignedExports(files) {
  for (const file of files) {
    if (/^export let /m.test(readFileSync(file, 'utf8'))) throw new Error(`${file}: export let`);
  }
}
