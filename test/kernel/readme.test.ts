import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import { packageRoot } from '../../src/base/index.js';

/** Every `sh` and `js` block of README.md runs as pasted; lines after `#>` or `//>` are in its output. */

const repository = packageRoot();
const readme = readFileSync(path.join(repository, 'README.md'), 'utf8');
const scratch = mkdtempSync('/tmp/nsbox-test-readme-');
const env = {
  ...process.env,
  NSBOX_ROOT: path.join(scratch, 'root'),
  NSBOX_STATE: path.join(scratch, 'state'),
  PATH: `${path.join(repository, 'bin')}:${process.env['PATH']}`,
  NODE_EXTRA_CA_CERTS: undefined,
};
const js = path.join(repository, 'build/test', `readme-${process.pid}.mjs`);

after(() => {
  spawnSync('sh', ['-c', 'nsbox ps -aq | xargs -r nsbox rm -f; nsbox system prune -f'], { env });
  rmSync(scratch, { recursive: true, force: true });
  rmSync(js, { force: true });
});

interface Block {
  title: string;
  language: string;
  text: string;
}

function blocks(): Block[] {
  const found: Block[] = [];
  let title = '';
  for (const m of readme.matchAll(/^(?:#+ (.*)|\*\*(.*?)\*\*.*|```(sh|js)\n([\s\S]*?)^```)$/gm)) {
    if (m[3]) found.push({ title, language: m[3], text: m[4] ?? '' });
    else title = m[1] ?? m[2] ?? '';
  }
  return found;
}

function expected(text: string): string[] {
  return [...text.matchAll(/^(?:#|\/\/)> (.*)$/gm)].map((m) => m[1] ?? '');
}

test('README has at least ten examples', () => {
  assert.ok(blocks().length >= 10, `${blocks().length}`);
});

/** Where the examples make their files; what the repository has (dist, npm run) is linked there. */
const work = path.join(scratch, 'work');
mkdirSync(work);
spawnSync('ln', [
  '-s',
  ...['dist', 'build', 'package.json', 'bin'].map((f) => path.join(repository, f)),
  work,
]);

for (const block of blocks()) {
  test(`README: ${block.title}`, { timeout: 120_000 }, () => {
    let r: ReturnType<typeof spawnSync>;
    if (block.language === 'js') {
      mkdirSync(path.dirname(js), { recursive: true });
      writeFileSync(js, block.text);
      r = spawnSync(process.execPath, [js], { env, cwd: repository, encoding: 'utf8', timeout: 110_000 });
    } else {
      // Both streams in one, as a terminal shows them.
      r = spawnSync('bash', ['-euo', 'pipefail', '-c', `exec 2>&1\n${block.text}`], {
        env,
        cwd: work,
        encoding: 'utf8',
        timeout: 110_000,
      });
    }
    const output = `${r.stdout}${r.stderr}`;
    assert.equal(r.status, 0, output);
    for (const line of expected(block.text))
      assert.ok(output.includes(line), `no ${JSON.stringify(line)} in:\n${output}`);
  });
}
