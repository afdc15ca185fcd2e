import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import {
  filterBoolean,
  goDuration,
  matches,
  matchesLabels,
  parseBytes,
  parseFilters,
  parseSeconds,
} from '../../src/base/index.js';
import { printInspect, printList } from '../../src/cli/format/list.js';
import { alignTable } from '../../src/cli/format/table.js';
import { compileTemplate } from '../../src/cli/format/template.js';
import { binarySize, humanDuration, humanSize } from '../../src/cli/format/units.js';
import type { Io } from '../../src/cli/io.js';

const DATA = {
  ID: 'abc',
  Name: '/web',
  Running: true,
  Count: 3,
  Zero: 0,
  Empty: [],
  List: ['a', 'b', 'c'],
  Nested: { 'my key': 'v', Deep: { X: 1 }, Null: null },
  Label: (name: unknown) => `label ${String(name)}`,
};

describe('templates', () => {
  const cases: [string, string][] = [
    ['{{.ID}}', 'abc'],
    ['a{{ .ID }}b{{.Count}}', 'aabcb3'],
    ['{{.Nested.Deep.X}}', '1'],
    ['{{index .Nested "my key"}}', 'v'],
    ['{{(index .List 1)}}', 'b'],
    ['{{json .List}}', '["a","b","c"]'],
    ['{{json .Nested}}', '{"my key":"v","Deep":{"X":1},"Null":null}'],
    ['{{.List}}', '[a b c]'],
    ['{{.Nested}}', 'map[Deep:map[X:1] Null:<nil> my key:v]'],
    ['{{join .List ", "}}', 'a, b, c'],
    ['{{.ID | upper}}', 'ABC'],
    ['{{upper .ID | lower | printf "%s-%d" | len}}', '16'],
    ['{{range .List}}<{{.}}>{{end}}', '<a><b><c>'],
    ['{{range $i, $e := .List}}{{if $i}},{{end}}{{$e}}{{end}}', 'a,b,c'],
    ['{{range $k, $v := .Nested.Deep}}{{$k}}={{$v}}{{end}}', 'X=1'],
    ['{{range .Empty}}x{{else}}none{{end}}', 'none'],
    ['{{range .List}}{{if eq . "b"}}{{break}}{{end}}{{.}}{{end}}', 'a'],
    ['{{range .List}}{{if eq . "b"}}{{continue}}{{end}}{{.}}{{end}}', 'ac'],
    ['{{if .Running}}up{{else}}down{{end}}', 'up'],
    ['{{if .Zero}}a{{else if .Running}}b{{else}}c{{end}}', 'b'],
    ['{{if and .Running (gt .Count 2)}}yes{{end}}', 'yes'],
    ['{{if not .Zero}}x{{end}}', 'x'],
    ['{{with .Nested.Deep}}{{.X}}{{$.ID}}{{end}}', '1abc'],
    ['{{$x := .ID}}{{$x}}{{$x = "q"}}{{$x}}', 'abcq'],
    ['{{.Label "com.example"}}', 'label com.example'],
    ['a {{- .ID -}} b', 'aabcb'],
    ['{{/* nothing */}}x', 'x'],
    ['{{println .ID}}', 'abc\n'],
    ['{{print .ID .Count}}', 'abc3'],
    ['{{slice .ID 1}}', 'bc'],
    ['{{split .ID "b"}}', '[a c]'],
    ['{{title "web server"}}', 'Web Server'],
    ['{{truncate .ID 2}}|{{pad .ID 1 2}}|', 'ab| abc  |'],
    ['{{printf "%-5s|%5d|%q" .ID .Count .ID}}', 'abc  |    3|"abc"'],
    ['{{"a\\tb"}}', 'a\tb'],
    ['{{`raw`}}\\t{{"x"}}', 'raw\tx'],
    ['{{len .List}}', '3'],
    ['{{eq .ID "x" "abc"}}', 'true'],
    ['{{.Nested.Null}}', '<nil>'],
  ];
  for (const [template, expected] of cases) {
    it(template, () => assert.equal(compileTemplate(template).execute(DATA), expected));
  }

  it('takes a field without a value for nil', () => {
    const data = { Health: undefined };
    const text = (template: string) => compileTemplate(template).execute(data);
    assert.equal(text('{{json .Health}} {{if .Health}}{{.Health.Status}}{{end}}'), 'null ');
    assert.throws(() => text('{{.Health.Status}}'), /nil pointer evaluating \.Status/);
  });

  const refused: [string, RegExp][] = [
    ['{{.Foo}}', /there is no field "Foo"; there are ID, Name/],
    ['{{.ID.Foo}}', /there is no field "Foo"/],
    ['{{.Nested.Null.X}}', /nil pointer evaluating \.X/],
    ['{{foo .ID}}', /function "foo" not defined/],
    ['{{range .List}}', /\{\{end\}\} is missing/],
    ['{{.ID', /unclosed action/],
    ['{{end}}', /unexpected \{\{end\}\}/],
    ['{{}}', /missing value/],
    ['{{.ID | }}', /missing value/],
    ['{{.ID "x"}}', /cannot be invoked/],
    ['{{$y}}', /undefined variable/],
    ['{{index .List 9}}', /index out of range/],
    ['{{template "x"}}', /not supported/],
    ['{{.ID ^}}', /unexpected "\^"/],
    ['{{lt 1 "a"}}', /incompatible types/],
    ['{{.constructor}}', /no field "constructor"/],
  ];
  for (const [template, message] of refused) {
    it(`refuses ${template}`, () => {
      assert.throws(() => compileTemplate(template).execute(DATA), { name: 'InvalidError', message });
    });
  }

  it('never throws anything but its own error, whatever the text', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: fc.constantFrom(...'{{}}.|$"`() IDrangeif-:=,123\\'), maxLength: 30 }),
        (text) => {
          try {
            compileTemplate(`{{${text}`).execute(DATA);
          } catch (error) {
            assert.equal((error as Error).name, 'InvalidError');
          }
        },
      ),
    );
  });
});

describe('tables', () => {
  it('are laid out as by tabwriter 10,1,3', () => {
    assert.equal(
      alignTable([
        ['CONTAINER ID', 'IMAGE', 'NAMES'],
        ['0123456789ab', 'busybox', 'web'],
        ['0123456789ac', 'a-long-image-name', ''],
      ]),
      'CONTAINER ID   IMAGE               NAMES\n' +
        '0123456789ab   busybox             web\n' +
        '0123456789ac   a-long-image-name   \n',
    );
    assert.equal(alignTable([['a', 'b', 'c']]), 'a         b         c\n');
    assert.equal(alignTable([['é😀', 'b']]), 'é😀        b\n');
  });

  it('print by format', () => {
    const written: string[] = [];
    const io = { out: (text: string) => written.push(text) } as unknown as Io;
    const rows = [{ ID: '1', Names: 'a', Label: () => 'x' }];
    const description = {
      headings: { ID: 'CONTAINER ID', Names: 'NAMES' },
      table: '{{.ID}}\t{{.Names}}',
      quiet: 'ID',
    };
    const print = (options: { format?: string; quiet?: boolean }) => {
      written.length = 0;
      printList(io, rows, description, options);
      return written.join('');
    };
    assert.equal(print({}), 'CONTAINER ID   NAMES\n1              a\n');
    assert.equal(print({ quiet: true }), '1\n');
    assert.equal(print({ format: 'json' }), '{"ID":"1","Names":"a"}\n');
    assert.equal(print({ format: '{{.ID}}:{{.Names}}' }), '1:a\n');
    assert.equal(
      print({ format: 'table {{json .ID}}\\t{{.Label "com.x.my-role"}}' }),
      'CONTAINER ID   MY ROLE\n"1"            x\n',
    );
    written.length = 0;
    printInspect(io, [{ Id: 'a' }, { Id: 'b' }], '{{.Id}}');
    printInspect(io, [{ Id: 'a' }], undefined);
    assert.equal(written.join(''), 'a\nb\n[\n    {\n        "Id": "a"\n    }\n]\n');
  });
});

describe('units', () => {
  it('reads sizes', () => {
    const cases: [string, number][] = [
      ['0', 0],
      ['42', 42],
      ['64m', 67108864],
      ['64MB', 67108864],
      ['64MiB', 67108864],
      ['1.5k', 1536],
      ['2G', 2147483648],
      ['10b', 10],
      ['-1', -1],
    ];
    for (const [text, bytes] of cases) assert.equal(parseBytes(text), bytes, text);
    for (const bad of ['', 'm', '1x', '1mm', '-5', '1..2', '9999999p']) {
      assert.throws(() => parseBytes(bad), { name: 'InvalidError' }, bad);
    }
  });
  it('reads durations', () => {
    const cases: [string, number][] = [
      ['10', 10],
      ['-1', -1],
      ['1m30s', 90],
      ['1.5h', 5400],
      ['500ms', 0.5],
    ];
    for (const [text, seconds] of cases) assert.equal(parseSeconds(text), seconds, text);
    assert.throws(() => parseSeconds('1x'));
  });
  it('writes durations as Go', () => {
    const cases: [number, string][] = [
      [1, '1ms'],
      [300, '300ms'],
      [1500, '1.5s'],
      [30_000, '30s'],
      [90_000, '1m30s'],
      [7_200_000, '2h0m0s'],
    ];
    for (const [milliseconds, text] of cases) assert.equal(goDuration(milliseconds), text);
  });
  it('writes sizes and times as Docker', () => {
    assert.equal(humanSize(0), '0B');
    assert.equal(humanSize(4261502), '4.26MB');
    assert.equal(humanSize(1000), '1kB');
    assert.equal(humanSize(999), '999B');
    assert.equal(humanSize(123456789), '123MB');
    assert.equal(binarySize(2097152), '2MiB');
    assert.equal(binarySize(2097152000), '1.953GiB');
    const times: [number, string][] = [
      [0.2, 'Less than a second'],
      [1, '1 second'],
      [59, '59 seconds'],
      [60, 'About a minute'],
      [150, '2 minutes'],
      [3600, 'About an hour'],
      [7200, '2 hours'],
      [86400, '24 hours'],
      [86400 * 3, '3 days'],
      [86400 * 20, '2 weeks'],
      [86400 * 70, '2 months'],
      [86400 * 800, '2 years'],
    ];
    for (const [seconds, text] of times) assert.equal(humanDuration(seconds * 1000), text);
  });
});

describe('filters', () => {
  it('combine as Docker’s', () => {
    const filters = parseFilters(
      ['name=a', 'name=b', 'label=x', 'label=y=1', 'dangling=true'],
      ['name', 'label', 'dangling'],
    );
    assert.ok(matches(filters, 'name', (v) => v === 'b'));
    assert.ok(!matches(filters, 'name', (v) => v === 'c'));
    assert.ok(matches(filters, 'status', () => false));
    assert.ok(matchesLabels(filters, { x: '', y: '1' }));
    assert.ok(!matchesLabels(filters, { x: '', y: '2' }));
    assert.ok(!matchesLabels(parseFilters(['label!=x'], ['label']), { x: '1' }));
    assert.equal(filterBoolean(filters, 'dangling'), true);
    assert.throws(() => parseFilters(['foo=1'], ['name']), /invalid filter 'foo' \(expected name\)/);
    assert.throws(() => parseFilters(['foo'], ['name']), /expected key=value/);
  });
});
