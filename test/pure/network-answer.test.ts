import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import packet from 'dns-packet';
import { answer } from '../../src/network/names/answer.js';
import { NameTable } from '../../src/network/names/table.js';
import type { NetworkSettings } from '../../src/network/types.js';

const web: NetworkSettings = {
  version: 1,
  containerId: 'a'.repeat(64),
  containerName: 'web',
  hostname: 'web',
  mode: 'networks',
  endpoints: [
    {
      network: 'mynet',
      networkId: 'n1',
      driver: 'bridge',
      endpointId: 'e1',
      interface: 'eth0',
      hostInterface: 'v0',
      mac: '',
      aliases: [],
      internal: false,
      ipv4: { address: '172.30.0.2', prefix: 16, gateway: '172.30.0.1' },
    },
  ],
  ports: [],
  exposed: [],
  extraHosts: [],
  dns: [],
  dnsSearch: [],
  dnsOptions: [],
  names: true,
};

describe('answers to names', () => {
  const table = new NameTable([web]);
  /** What is answered, and how often the upstream servers were asked for. */
  const ask = async (name: string, type: 'A' | 'AAAA' | 'PTR' | 'TXT' = 'A') => {
    let asked = 0;
    const query = packet.encode({
      type: 'query',
      id: 7,
      flags: 256,
      questions: [{ type, name, class: 'IN' }],
    });
    const upstream = () => {
      asked += 1;
      return [];
    };
    const reply = await answer(table, { query, asker: web, over: 'udp', upstream });
    const decoded = packet.decode(reply!);
    const data = decoded.answers?.map((a) => ('data' in a ? String(a.data) : '')) ?? [];
    return { data, code: (decoded.flags ?? 0) & 15, asked };
  };

  it('come from the containers without a look at the upstream servers, which are in files', async () => {
    assert.deepEqual(await ask('web'), { data: ['172.30.0.2'], code: 0, asked: 0 });
    assert.deepEqual(await ask('WEB.mynet'), { data: ['172.30.0.2'], code: 0, asked: 0 });
    assert.deepEqual(await ask('web', 'AAAA'), { data: [], code: 0, asked: 0 });
    assert.deepEqual(await ask('2.0.30.172.in-addr.arpa', 'PTR'), { data: ['web.mynet'], code: 0, asked: 0 });
    assert.deepEqual(await ask('nobody'), { data: [], code: 3, asked: 0 });
  });

  it('are a failure of the server where there is nobody to ask', async () => {
    assert.deepEqual(await ask('example.org'), { data: [], code: 2, asked: 1 });
  });
});
