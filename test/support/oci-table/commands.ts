import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { code, commands, fails, type Rows, type Scenario, same } from './scenario.js';

/** The command line: exit codes, messages that callers look for, what it prints. */
export const COMMANDS: Scenario[] = [
  {
    name: 'without a container',
    rows: (w) => {
      const rows: Rows = {};
      for (const c of [
        ['state'],
        ['start'],
        ['kill'],
        ['delete'],
        ['pause'],
        ['resume'],
        ['ps'],
        ['events', '--stats'],
      ]) {
        rows[c[0]!] = fails(w.call([...c, 'nosuch']), /does not exist/);
      }
      rows['exec'] = fails(w.call(['exec', 'nosuch', 'true']), /does not exist/);
      rows['delete --force'] = code(w.call(['delete', '--force', 'nosuch']));
      rows['list -q'] = `${w.call(['list', '-q']).stdout}`;
      rows['no command'] = code(w.call(['nosuch']));
      rows['unknown flag'] = code(w.call(['state', '--nosuch', 'x']));
      rows['too few arguments'] = code(w.call(['state']));
      rows['too many arguments'] = code(w.call(['state', 'a', 'b']));
      rows['version'] = String(
        /^\S+ version \S+\n(commit: .*\n)?spec: \d+\.\d+\.\d+/.test(w.call(['--version']).stdout),
      );
      rows['features'] = code(w.call(['features']));
      rows['help'] = code(w.call(['--help']));
      return rows;
    },
  },
  {
    name: 'ids',
    rows: (w) => {
      const rows: Rows = {};
      for (const id of ['a/b', '..', '.', 'a b', 'ä', 'x:y', '']) {
        const created = w.create(id, w.bundle());
        rows[`create ${JSON.stringify(id)}`] = code(created);
        // Only what was made: crun's `delete -f ..` removes the parent of its root.
        if (created.code === 0) w.call(['delete', '-f', id]);
      }
      return rows;
    },
  },
  commands(
    'state of a created container',
    (s) => {
      s.annotations = { k: 'v' };
    },
    (w, id) => {
      const s = w.state(id)!;
      return {
        keys: Object.keys(s).sort().join(' '),
        status: String(s['status']),
        annotations: JSON.stringify(s['annotations']),
        version: String(s['ociVersion']),
        'pid is a number': typeof s['pid'],
        'rootfs is absolute': String(String(s['rootfs']).startsWith('/')),
        owner: String(s['owner']),
      };
    },
  ),
  commands('a created container', same, (w, id) => ({
    pause: code(w.call(['pause', id])),
    'status after pause': String(w.state(id)?.['status']),
    resume: code(w.call(['resume', id])),
    'status after resume': String(w.state(id)?.['status']),
    'kill 0': code(w.call(['kill', id, '0'])),
    exec: w.call(['exec', id, 'echo', 'hi']).stdout.trim(),
    delete: code(w.call(['delete', id])),
    'state after delete': fails(w.call(['state', id]), /does not exist/),
  })),
  commands('a running container', same, async (w, id) => {
    const rows: Rows = { start: code(w.call(['start', id])) };
    rows['status'] = String(w.state(id)?.['status']);
    rows['start again'] = code(w.call(['start', id]));
    rows['create with the same id'] = fails(w.call(['create', '-b', w.bundle(), id]), /exist/);
    rows['delete'] = fails(w.call(['delete', id]), /not stopped/);
    rows['still there'] = String(w.state(id)?.['status']);
    rows['resume'] = code(w.call(['resume', id]));
    rows['pause'] = code(w.call(['pause', id]));
    rows['status paused'] = String(w.state(id)?.['status']);
    rows['exec while paused'] = code(w.call(['exec', id, 'true']));
    rows['start while paused'] = code(w.call(['start', id]));
    rows['resume paused'] = code(w.call(['resume', id]));
    rows['kill with a bad signal'] = code(w.call(['kill', id, 'NOSUCH']));
    for (const s of ['0', 'USR1', 'SIGUSR1', 'sigusr1', '10'])
      rows[`kill ${s}`] = code(w.call(['kill', id, s]));
    rows['ps json'] = String(/^\[\d+\]\n$/.test(w.call(['ps', '-f', 'json', id]).stdout));
    rows['ps table'] = w.call(['ps', id]).stdout.split('\n')[0]!.trim().split(/\s+/).join(' ');
    rows['ps with options'] = w
      .call(['ps', id, '-e', '-o', 'pid,comm'])
      .stdout.trim()
      .split('\n')
      .map((l) => l.trim().split(/\s+/).at(-1))
      .join(' ');
    rows['ps bad format'] = code(w.call(['ps', '-f', 'nosuch', id]));
    rows['list json'] = Object.keys(
      (JSON.parse(w.call(['list', '-f', 'json']).stdout || '[{}]') as object[])[0]!,
    )
      .sort()
      .join(' ');
    rows['list head'] = w.call(['list']).stdout.split('\n')[0]!.trim().split(/\s+/).join(' ');
    rows['list -q'] = String(w.call(['list', '-q']).stdout === `${id}\n`);
    rows['events --stats'] = /"type":"(\w+)"/.exec(w.call(['events', '--stats', id]).stdout)?.[1] ?? 'none';
    rows['kill KILL'] = code(w.call(['kill', id, 'KILL']));
    await w.until(() => w.state(id)?.['status'] === 'stopped');
    rows['pid when stopped'] = String(w.state(id)?.['pid']);
    rows['kill when stopped'] = fails(w.call(['kill', id, 'KILL']), /container not running/);
    rows['kill --all when stopped'] = code(w.call(['kill', '--all', id, 'KILL']));
    rows['start when stopped'] = code(w.call(['start', id]));
    rows['exec when stopped'] = code(w.call(['exec', id, 'true']));
    rows['pause when stopped'] = code(w.call(['pause', id]));
    rows['delete when stopped'] = code(w.call(['delete', id]));
    return rows;
  }),
  commands(
    'exec',
    (s) => {
      s.process!.env = ['PATH=/bin', 'FROM=config'];
      s.process!.cwd = '/tmp';
      s.process!.noNewPrivileges = false;
    },
    (w, id) => {
      w.call(['start', id]);
      const x = (...a: string[]) => w.call(['exec', ...a]);
      const out = (...a: string[]) => x(...a).stdout.trim();
      const file = path.join(w.directory, 'p.json');
      writeFileSync(
        file,
        JSON.stringify({
          cwd: '/etc',
          args: ['sh', '-c', 'pwd; id -u; echo $X'],
          env: ['PATH=/bin', 'X=y'],
          user: { uid: 8, gid: 9 },
        }),
      );
      const rows: Rows = {
        'exit code': code(x(id, 'sh', '-c', 'exit 33')),
        'exit 126': code(x(id, 'sh', '-c', 'exit 126')),
        'killed by a signal': code(x(id, 'sh', '-c', 'kill -TERM $$')),
        'not found': fails(x(id, 'nosuch'), /executable file not found in \$PATH/),
        'path not found': fails(x(id, '/bin/nosuch'), /no such file or directory/),
        'not executable': fails(x(id, '/etc/passwd'), /permission denied/),
        'no command': code(x(id)),
        environment: out(id, 'sh', '-c', 'echo $FROM'),
        '-e': out('-e', 'A=b', '-e', 'C=d', id, 'sh', '-c', 'echo $A$C'),
        '-e over config': out('-e', 'FROM=flag', id, 'sh', '-c', 'echo $FROM'),
        cwd: out(id, 'sh', '-c', 'pwd'),
        '--cwd': out('--cwd', '/etc', id, 'sh', '-c', 'pwd'),
        '--cwd missing': code(x('--cwd', '/nosuch', id, 'true')),
        '-u': out('-u', '12', id, 'sh', '-c', 'id -u; id -g').replace('\n', ' '),
        '-u with group': out('-u', '12:13', id, 'sh', '-c', 'id -u; id -g').replace('\n', ' '),
        '-u by name': code(x('-u', 'root', id, 'true')),
        '-g': out('-g', '44', id, 'grep', 'Groups', '/proc/self/status').replace(/\s+/g, ' '),
        capabilities: out(id, 'grep', 'CapEff', '/proc/self/status'),
        '-c': out('-c', 'CAP_SYS_ADMIN', id, 'grep', '-E', 'Cap(Eff|Bnd)', '/proc/self/status'),
        '--no-new-privs': out('--no-new-privs', id, 'grep', 'NoNewPrivs', '/proc/self/status'),
        'without --no-new-privs': out(id, 'grep', 'NoNewPrivs', '/proc/self/status'),
        '-p': out('-p', file, id).replaceAll('\n', ' '),
        '-p missing': code(x('-p', '/nosuch', id)),
        '-d': code(x('-d', id, 'true')),
        '-d --pid-file': `${code(x('-d', '--pid-file', path.join(w.directory, 'xp'), id, 'true'))}`,
        stdin: w.call(['exec', id, 'cat'], { input: 'in' }).stdout,
        stderr: x(id, 'sh', '-c', 'echo e >&2').stderr,
        'flags after the command are its own': out(id, 'echo', '-d', '--cwd'),
        'pid namespace': out(id, 'cat', '/proc/1/comm'),
        'open files': out(id, 'ls', '/proc/self/fd').replaceAll('\n', ' '),
        'cgroup is the same': String(
          out(id, 'sh', '-c', 'cat /proc/self/cgroup /proc/1/cgroup | sort | uniq -u | wc -l'),
        ),
        'session of its own': String(out(id, 'sh', '-c', 'cut -d" " -f6 /proc/$$/stat') !== '0'),
      };
      return rows;
    },
  ),
  commands(
    'hooks see the state',
    (s, w) => {
      const log = path.join(w.directory, `hook-${path.basename(w.runtime)}`);
      const hook = (name: string) => [
        {
          path: '/bin/sh',
          args: [
            'argv0',
            '-c',
            `echo "${name} $(tr -d ' \\n\\t' | grep -o '"status":"[a-z]*"') $X $#" >> ${log}`,
          ],
          env: ['PATH=/bin:/usr/bin', 'X=env'],
        },
      ];
      s.process!.args = ['true'];
      s.hooks = {
        prestart: hook('prestart'),
        createRuntime: hook('createRuntime'),
        createContainer: hook('createContainer'),
        poststart: hook('poststart'),
        poststop: hook('poststop'),
      };
    },
    async (w, id) => {
      w.call(['start', id]);
      await w.until(() => w.state(id)?.['status'] === 'stopped');
      w.call(['delete', id]);
      const { readFileSync } = await import('node:fs');
      const lines = readFileSync(path.join(w.directory, `hook-${path.basename(w.runtime)}`), 'utf8')
        .trim()
        .split('\n');
      return Object.fromEntries([['count', String(lines.length)], ...lines.map((l, i) => [`hook ${i}`, l])]);
    },
  ),
  {
    name: 'files',
    rows: async (w) => {
      const { readFileSync } = await import('node:fs');
      const id = w.id();
      const pidFile = path.join(w.directory, 'pidfile');
      const rows: Rows = { create: code(w.create(id, w.bundle(), '--pid-file', pidFile)) };
      rows['pid file'] = String(readFileSync(pidFile, 'utf8') === String(w.state(id)?.['pid']));
      w.call(['delete', '-f', id]);
      const log = path.join(w.directory, 'l.json');
      rows['failure with --log'] = code(w.call(['--log', log, '--log-format', 'json', 'start', 'nosuch']));
      const entry = JSON.parse(readFileSync(log, 'utf8').trim().split('\n').at(-1)!) as Record<
        string,
        string
      >;
      rows['log fields'] = Object.keys(entry)
        .filter((k) => ['level', 'msg', 'time'].includes(k))
        .sort()
        .join(' ');
      rows['log level'] = entry['level']!;
      rows['bad log format'] = code(w.call(['--log-format', 'nosuch', 'list']));
      rows['list of a root that is missing'] = code(
        w.call(['--root', path.join(w.directory, 'nosuch'), 'list']),
      );
      rows['run a bundle that is missing'] = code(w.call(['run', '-b', '/nosuch', 'x']));
      const made = path.join(w.directory, 'made');
      mkdirSync(made);
      rows['spec'] = code(w.call(['spec', '-b', made]));
      rows['spec again'] = code(w.call(['spec', '-b', made]));
      const keep = w.id();
      rows['run --keep'] = code(
        w.call([
          'run',
          '--keep',
          '-b',
          w.bundle((s) => {
            s.process!.args = ['true'];
          }),
          keep,
        ]),
      );
      rows['kept'] = String(w.state(keep)?.['status']);
      const detached = w.id();
      rows['run -d'] = code(w.create(detached, w.bundle()));
      return rows;
    },
  },
];
