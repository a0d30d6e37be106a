import { expect, test } from 'vitest';
import { scene, on, scenes, translated } from '../../mock/scenes';
import { toDot, toMermaid } from './export';
import { rangesOf } from './image';

const small = scene(
  [
    ['host1', 'host'],
    ['sw', 'switch'],
  ],
  [['host1:eth0', 'sw:port1']],
  on(
    'host1',
    'ip addr add 10.0.0.10/24 dev eth0',
    'ip netns add kon',
    'ip link add veth1 type veth peer name veth2',
    'ip link set veth2 netns kon',
    'ip link set veth1 up',
  ),
);

test('DOT', () => {
  expect(toDot(small)).toBe(`graph kabel {
  graph [compound=true, fontname="Helvetica", rankdir=TB];
  node [shape=box, style=rounded, fontname="Helvetica", fontsize=10];
  edge [fontname="Helvetica", fontsize=9];
  subgraph "cluster host1" {
    label="host1";
    "host1:lo" [label="lo\\n127.0.0.1/8"];
    "host1:eth0" [label="eth0\\n10.0.0.10/24"];
    "host1:veth1" [label="veth1\\nno-carrier"];
    subgraph "cluster host1/kon" {
      label="kon";
      "host1/kon:lo" [label="lo\\ndown", style="rounded,dashed"];
      "host1/kon:veth2" [label="veth2\\ndown", style="rounded,dashed"];
    }
  }
  subgraph "cluster sw" {
    label="sw";
    "sw:lo" [label="lo\\n127.0.0.1/8"];
    "sw:port1" [label="port1"];
    "sw:br0" [label="br0", shape=component];
  }
  "host1:eth0" -- "sw:port1" [penwidth=2];
  "host1:veth1" -- "host1/kon:veth2" [style=dashed];
  "sw:port1" -- "sw:br0" [style=dotted];
}
`);
});

test('Mermaid', () => {
  expect(toMermaid(small)).toBe(`flowchart TB
  subgraph n1 ["host1"]
    n2["lo<br/>127.0.0.1/8"]
    n3["eth0<br/>10.0.0.10/24"]
    n4["veth1<br/>no-carrier"]
    subgraph n5 ["kon"]
      n6["lo<br/>down"]
      n7["veth2<br/>down"]
    end
  end
  subgraph n8 ["sw"]
    n9["lo<br/>127.0.0.1/8"]
    n10["port1"]
    n11[["br0"]]
  end
  n3 === n10
  n4 -.- n7
  n10 -.- n11
`);
});

test('a published port is an arrow', () => {
  const s = translated(['-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 172.20.0.1:80'], []);
  expect(toDot(s)).toContain('"host1:eth0" -- "host1/c0:w0" [label=":80", dir=forward');
  expect(toMermaid(s)).toMatch(/n\d+ -->\|":80"\| n\d+/);
});

test.each(scenes)('%s: every interface is told once, and every line has both of its ends', (_, s) => {
  const dot = toDot(s);
  const told = [...dot.matchAll(/^ +"([^"]+)" \[label/gm)].map((m) => m[1]);
  expect(told).toHaveLength((s.nodes ?? []).flatMap((n) => n.links ?? []).length);
  for (const [, a, b] of dot.matchAll(/^ +"([^"]+)" -- "([^"]+)"/gm)) {
    expect(told).toContain(a);
    expect(told).toContain(b);
  }
});

test('a font face is taken for the characters that it has', () => {
  expect(rangesOf('U+0000-00FF, U+131')).toEqual([
    [0, 255],
    [0x131, 0x131],
  ]);
});
