import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { portsText, statusText } from '../../src/cli/format/container.js';
import type { ContainerSummary } from '../../src/engine/index.js';

const NOW = Date.parse('2026-11-21T12:00:00Z');
const running = {
  state: 'running',
  pid: 1,
  monitorPid: 2,
  startedAt: '2026-11-21T11:57:00Z',
  restartCount: 0,
};
const exit = {
  exitCode: 3,
  signal: 0,
  oomKilled: false,
  startedAt: '2026-11-21T10:00:00Z',
  finishedAt: '2026-11-21T10:00:00Z',
  restartCount: 1,
};

describe('ps', () => {
  it('says the status as Docker', () => {
    const cases: [object, string][] = [
      [{ status: 'running', running }, 'Up 3 minutes'],
      [{ status: 'paused', running }, 'Up 3 minutes (Paused)'],
      [{ status: 'exited', exit }, 'Exited (3) 2 hours ago'],
      [{ status: 'restarting', running, exit }, 'Restarting (3) 2 hours ago'],
      [{ status: 'created' }, 'Created'],
      [{ status: 'removing' }, 'Removal In Progress'],
      [{ status: 'dead' }, 'Dead'],
    ];
    for (const [state, text] of cases) {
      assert.equal(statusText({ state } as unknown as ContainerSummary, NOW), text);
    }
  });

  it('says the ports as Docker', () => {
    const port = (containerPort: number, hostPort?: number, hostIp = '0.0.0.0', protocol = 'tcp') =>
      hostPort === undefined ? { containerPort, protocol } : { containerPort, protocol, hostIp, hostPort };
    const cases: [ReturnType<typeof port>[], string][] = [
      [[], ''],
      [[port(80, 8080)], '0.0.0.0:8080->80/tcp'],
      [[port(80), port(443)], '80/tcp, 443/tcp'],
      [
        [port(81, 8081), port(80, 8080), port(82, 9000)],
        '0.0.0.0:8080-8081->80-81/tcp, 0.0.0.0:9000->82/tcp',
      ],
      [[port(80, 8080), port(80, 8080, '::')], '0.0.0.0:8080->80/tcp, [::]:8080->80/tcp'],
      [[port(53, 53, '127.0.0.1', 'udp'), port(53)], '53/tcp, 127.0.0.1:53->53/udp'],
      [[port(8000), port(8001)], '8000-8001/tcp'],
    ];
    for (const [ports, text] of cases) assert.equal(portsText(ports), text);
  });
});
