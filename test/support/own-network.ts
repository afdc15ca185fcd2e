import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';

const MARK = 'NSBOX_TEST_OWN_NETWORK';

export interface OwnNetworkOptions {
  /** What needs the machine's network, done outside first. Gives the reason why nothing can run, or what the file finds in `prepared`. */
  first?: () => Promise<{ missing: string } | { ready: string }>;
  /** Time of the whole file inside, in seconds; 480 by default, a little less than the runner gives a file. */
  seconds?: number;
}

/** What `first` made ready, inside. */
export const prepared = (): string => process.env[MARK] ?? '';

/**
 * Runs a test file in network, pid and mount namespaces of its own, so that the machine's network stays untouched and
 * every process it leaves dies with it: `if (ownNetwork(import.meta.filename)) { test(…) … }`. Outside it runs itself
 * again inside and repeats each verdict.
 */
export function ownNetwork(file: string, options: OwnNetworkOptions = {}): boolean {
  if (process.env[MARK]) return true;
  test('in a network of its own', async (t) => {
    const first = (await options.first?.()) ?? { ready: '1' };
    if ('missing' in first) return t.skip(first.missing);
    const child = spawn(
      'unshare',
      [
        '-n',
        '-m',
        '-p',
        '-f',
        '--mount-proc',
        '--kill-child',
        '--propagation',
        'private',
        process.execPath,
        '--test-reporter=tap',
        `--test-timeout=${(options.seconds ?? 480) * 1000}`,
        '--test',
        file,
      ],
      { env: { ...withoutRunner(), [MARK]: first.ready }, stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let out = '';
    child.stdout.on('data', (d) => {
      out += d;
    });
    await new Promise((resolve) => child.on('close', resolve));
    const verdicts = [...out.matchAll(/^( {4})?(not ok|ok) \d+ - (.*)$/gm)].filter(
      (m) => !m[3]!.includes(file),
    );
    assert.ok(verdicts.length > 0, `nothing ran:\n${out}`);
    for (const [i, m] of verdicts.entries()) {
      const end = verdicts[i + 1]?.index ?? out.length;
      const skip = / # SKIP ?(.*)$/.exec(m[3]!)?.[1] ?? false;
      await t.test(m[3]!.replace(/ # .*$/, ''), { skip }, () => {
        assert.equal(m[2], 'ok', out.slice(m.index, end));
      });
    }
  });
  return false;
}

/** The environment without what tells a child of node:test to report to its parent. */
function withoutRunner(): NodeJS.ProcessEnv {
  const env = { ...process.env };
  delete env['NODE_TEST_CONTEXT'];
  return env;
}
