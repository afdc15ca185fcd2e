import type { Endpoint, NetworkRecord, NetworkSettings } from './types.js';
import { parentOf } from './wire.js';

interface Drawn {
  network: NetworkRecord;
  members: readonly { settings: NetworkSettings; endpoint: Endpoint }[];
}

interface Node {
  id: string;
  lines: string[];
  shape: 'box' | 'ellipse';
}

interface Edge {
  from: string;
  to: string;
  label: string;
}

/** Networks as nodes and edges: host, bridges or parent links, veth pairs with addresses, published ports. */
export function drawNetworks(networks: readonly Drawn[], format: 'dot' | 'mermaid'): string {
  const nodes = new Map<string, Node>();
  const edges: Edge[] = [];
  nodes.set('host', { id: 'host', lines: ['host'], shape: 'box' });
  for (const { network, members } of networks) {
    const id = `n${network.id.slice(0, 12)}`;
    const device = network.device || (network.driver === 'cni' ? '' : parentOf(network));
    nodes.set(id, {
      id,
      lines: [
        `${network.name} (${network.driver}${network.internal ? ', internal' : ''})`,
        ...(device ? [device] : []),
        ...network.subnets.map((s) => (s.gateway ? `${s.subnet} gw ${s.gateway}` : s.subnet)),
      ],
      shape: 'box',
    });
    edges.push({ from: 'host', to: id, label: network.internal ? 'no way out' : way(network) });
    for (const { settings, endpoint } of members) {
      const container = `c${settings.containerId.slice(0, 12)}`;
      nodes.set(container, {
        id: container,
        lines: [settings.containerName || settings.containerId.slice(0, 12), ...settings.ports.map(portText)],
        shape: 'ellipse',
      });
      const addresses = [endpoint.ipv4?.address, endpoint.ipv6?.address].filter(Boolean).join(' ');
      const pair = endpoint.hostInterface
        ? `${endpoint.hostInterface} ↔ ${endpoint.interface}`
        : endpoint.interface;
      edges.push({ from: id, to: container, label: `${pair} ${addresses}` });
    }
  }
  return format === 'dot' ? dot([...nodes.values()], edges) : mermaid([...nodes.values()], edges);
}

function way(network: NetworkRecord): string {
  if (network.driver === 'vxlan') return `vxlan to ${network.peers.join(', ')}`;
  return network.driver === 'bridge' ? 'masquerade' : network.driver;
}

function portText(port: NetworkSettings['ports'][number]): string {
  const ip = port.hostIp.includes(':') ? `[${port.hostIp}]` : port.hostIp;
  return `${ip}:${port.hostPort}->${port.containerPort}/${port.protocol}`;
}

/** @see https://graphviz.org/doc/info/lang.html */
function dot(nodes: readonly Node[], edges: readonly Edge[]): string {
  const quote = (text: string) => `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
  const label = (lines: readonly string[]) => lines.map((l) => quote(l).slice(1, -1)).join('\\n');
  return [
    'graph nsbox {',
    '  rankdir=LR;',
    '  node [fontname="sans-serif"];',
    ...nodes.map((n) => `  ${n.id} [shape=${n.shape}, label="${label(n.lines)}"];`),
    ...edges.map((e) => `  ${e.from} -- ${e.to} [label=${quote(e.label)}];`),
    '}\n',
  ].join('\n');
}

/** @see https://mermaid.js.org/syntax/flowchart.html */
function mermaid(nodes: readonly Node[], edges: readonly Edge[]): string {
  const text = (t: string) => t.replaceAll('"', '#quot;');
  return [
    'graph LR',
    ...nodes.map((n) => {
      const label = `"${n.lines.map(text).join('<br/>')}"`;
      return `  ${n.id}${n.shape === 'box' ? `[${label}]` : `([${label}])`}`;
    }),
    ...edges.map((e) => `  ${e.from} ---|"${text(e.label)}"| ${e.to}`),
    '',
  ].join('\n');
}
