import { kindText, linkState, netnsOf, shownAddresses } from '../snapshot';
import type { Node, Snapshot } from '../wire';
import { masquerades, published } from './nat';
import { tunnels, underlay } from './tunnels';
import { World, type End, type Machine } from './world';

/** A line between two interfaces, or from one to a namespace. */
interface Edge {
  from: string;
  to: string;
  kind: 'cable' | 'wire' | 'port' | 'carried' | 'tunnel' | 'publish';
  label: string;
  up: boolean;
}

function edges(w: World): Edge[] {
  const all = w.machines.flatMap((m) => [m.node, ...m.namespaces]).flatMap((n) => w.ends(n));
  const up = (...ends: End[]): boolean => ends.every((e) => linkState(e.link) === 'up');
  const out: Edge[] = [];
  const seen = new Set<string>();
  for (const e of all) {
    const far = w.far(e);
    if (far && !seen.has(far.id)) {
      seen.add(e.id);
      const kind = w.wiredTo(e) === undefined ? 'cable' : 'wire';
      out.push({ from: e.id, to: far.id, kind, label: '', up: up(e, far) });
    }
    const master = w.ends(e.node).find((one) => one.link.name === e.link.master);
    if (master) out.push({ from: e.id, to: master.id, kind: 'port', label: '', up: up(e, master) });
    const under = e.link.kind === 'veth' ? undefined : underlay(e, w);
    if (under) out.push({ from: e.id, to: under.id, kind: 'carried', label: '', up: up(e, under) });
  }
  for (const { a, b, label } of tunnels(w))
    out.push({ from: a.id, to: b.id, kind: 'tunnel', label, up: up(a, b) });
  for (const n of w.machines.flatMap((m) => [m.node, ...m.namespaces]))
    for (const p of published(n, w))
      if (p.target)
        out.push({ from: p.on.id, to: p.target.id, kind: 'publish', label: `:${p.port}`, up: true });
  return out;
}

/** What stands in the box of an interface, line by line. */
function linesOf(e: End, w: World): string[] {
  const state = linkState(e.link);
  return [
    e.link.name,
    ...shownAddresses(e.link),
    ...(e.link.mode ? [kindText(e.link)] : []),
    ...(state === 'up' ? [] : [state]),
    ...masquerades(e.node, w).flatMap((m) =>
      m.on.id === e.id ? [m.to ? `SNAT ${m.to}` : `MASQUERADE${m.source ? ` ${m.source}` : ''}`] : [],
    ),
  ];
}

const titleOf = (n: Node): string => netnsOf(n.id) || n.id;

/** The topology for Graphviz. */
export function toDot(snapshot: Snapshot): string {
  const w = new World(snapshot);
  const out = [
    'graph kabel {',
    '  graph [compound=true, fontname="Helvetica", rankdir=TB];',
    '  node [shape=box, style=rounded, fontname="Helvetica", fontsize=10];',
    '  edge [fontname="Helvetica", fontsize=9];',
  ];
  const nodeLines = (n: Node, indent: string): string[] =>
    w.ends(n).map((e) => {
      const style = linkState(e.link) === 'down' ? ', style="rounded,dashed"' : '';
      const shape = e.link.kind === 'bridge' ? ', shape=component' : '';
      return `${indent}${quoted(e.id)} [label=${quoted(linesOf(e, w).join('\n'))}${shape}${style}];`;
    });
  const cluster = (n: Node, indent: string, inner: string[]): string[] => [
    `${indent}subgraph ${quoted(`cluster ${n.id}`)} {`,
    `${indent}  label=${quoted(titleOf(n))};`,
    ...nodeLines(n, `${indent}  `),
    ...inner,
    `${indent}}`,
  ];
  for (const m of w.machines)
    out.push(
      ...cluster(
        m.node,
        '  ',
        m.namespaces.flatMap((n) => cluster(n, '    ', [])),
      ),
    );
  for (const e of edges(w)) {
    const styles: Record<Edge['kind'], string> = {
      cable: '',
      wire: 'penwidth=2',
      port: 'style=dotted',
      carried: 'style=dashed',
      tunnel: 'style=dashed, color=purple',
      publish: 'dir=forward, color=darkgreen, constraint=false',
    };
    const how = [
      ...(e.label ? [`label=${quoted(e.label)}`] : []),
      ...(styles[e.kind] ? [styles[e.kind]] : []),
      ...(e.up || styles[e.kind].includes('style') ? [] : ['style=dashed']),
    ];
    out.push(`  ${quoted(e.from)} -- ${quoted(e.to)}${how.length ? ` [${how.join(', ')}]` : ''};`);
  }
  return [...out, '}', ''].join('\n');
}

const quoted = (s: string): string =>
  `"${s.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')}"`;

/** The topology for Mermaid. */
export function toMermaid(snapshot: Snapshot): string {
  const w = new World(snapshot);
  const ids = new Map<string, string>();
  const id = (of: string): string => {
    const known = ids.get(of) ?? `n${ids.size + 1}`;
    ids.set(of, known);
    return known;
  };
  const out = ['flowchart TB'];
  const group = (n: Node, indent: string, inner: () => void): void => {
    out.push(`${indent}subgraph ${id(n.id)} ["${escaped(titleOf(n))}"]`);
    for (const e of w.ends(n)) {
      const text = linesOf(e, w).map(escaped).join('<br/>');
      const [open, close] = e.link.kind === 'bridge' ? ['[[', ']]'] : ['[', ']'];
      out.push(`${indent}  ${id(e.id)}${open}"${text}"${close}`);
    }
    inner();
    out.push(`${indent}end`);
  };
  const machine = (m: Machine): void =>
    group(m.node, '  ', () => m.namespaces.forEach((n) => group(n, '    ', () => undefined)));
  w.machines.forEach(machine);
  for (const e of edges(w)) {
    const lines: Record<Edge['kind'], string> = {
      cable: '---',
      wire: '===',
      port: '-.-',
      carried: '-.-',
      tunnel: '-.-',
      publish: '-->',
    };
    const line = e.up || e.kind === 'publish' ? lines[e.kind] : '-.-';
    out.push(`  ${id(e.from)} ${line}${e.label ? `|"${escaped(e.label)}"|` : ''} ${id(e.to)}`);
  }
  return [...out, ''].join('\n');
}

/** Mermaid has entities of its own for what would end a text. */
const escaped = (s: string): string =>
  s.replaceAll('#', '#35;').replaceAll('"', '#quot;').replaceAll('<', '#lt;').replaceAll('>', '#gt;');
