// Layout against the least that any picture costs, reading the snapshot: `npm run bench`.
import { draw } from '../src/topology/picture';
import type { NodeKind } from '../src/wire';
import { container, many, on, scene } from './scenes';

const hosts = 10;
const namespaces = 10;
const world = scene(
  [...many(hosts, (i): [string, NodeKind] => [`host${i + 1}`, 'host']), ['sw', 'switch']],
  many(hosts, (i): [string, string] => [`host${i + 1}:eth0`, `sw:port${i + 1}`]),
  many(hosts, (i) =>
    on(`host${i + 1}`, 'ip link add br0 type bridge', ...many(namespaces, (k) => container(k, 'br0')).flat()),
  ).flat(),
);
const json = JSON.stringify(world);

/** What one run costs of the processor, in ms; the clock would count what others do meanwhile. */
function cost(work: () => unknown, runs = 200): number {
  for (let i = 0; i < 50; i++) work();
  const before = process.cpuUsage();
  for (let i = 0; i < runs; i++) work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000 / runs;
}

const [parsing, drawing] = [cost(() => JSON.parse(json)), cost(() => draw(world))];
const items = draw(world).items.length;
console.log(
  `${world.nodes?.length} nodes, ${items} items, ${Math.round(json.length / 1000)} kB: ` +
    `layout ${drawing.toFixed(2)} ms, JSON.parse ${parsing.toFixed(2)} ms, ratio ${(drawing / parsing).toFixed(2)}`,
);
