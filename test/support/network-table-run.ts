// Runs the cases of network-table.ts with one engine and prints what was seen, as JSON by name. It is started in
// network, process and mount namespaces of its own. Arguments: name of the engine, names of cases (all).
import { NetworkRig } from './network.js';
import { type EngineName, startEngine } from './network-engines.js';
import { CASES, TableWorld } from './network-table.js';
import { TestRoot } from './rootfs.js';

const [name = 'nsbox', ...only] = process.argv.slice(2);
const seen: Record<string, string> = {};
using box = new TestRoot(`table-${name}`);
await using rig = new NetworkRig();
const other = await rig.otherHost([9000]);
const engine = await startEngine(name as EngineName, box.directory, box.rootfs);
try {
  const world = new TableWorld(rig, engine, other);
  world.networks();
  for (const one of CASES) {
    if (only.length > 0 && !only.includes(one.name)) continue;
    try {
      seen[one.name] = world.plain(await one.see(world));
    } catch (error) {
      seen[one.name] = world.plain((error as Error).message);
    }
    world.down();
  }
} finally {
  await engine.end();
}
process.stdout.write(JSON.stringify(seen));
