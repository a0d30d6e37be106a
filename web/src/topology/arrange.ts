import type { LinkId } from '../wire';
import { drawHost } from './host';
import { drawCompact, drawSwitch, isInfrastructure, portRoom, stands, type SideOf } from './infrastructure';
import type { Drawing, Side } from './items';
import type { Machine, World } from './world';

export const margin = 24;
export const machineGap = 72;
const perRow = 4;
const overhang = 140;
const stretch = 60; // that one does not see to be empty

export interface Placed {
  machine: Machine;
  drawing: Drawing;
  x: number;
  row: number;
  /** How far it stands below the top of its row. */
  down: number;
}

/** Hosts in rows on top, what connects them in the row below. */
export function arrange(w: World): Placed[][] {
  const hosts = w.machines.filter((m) => !isInfrastructure(m));
  const rest = w.machines.filter((m) => isInfrastructure(m));
  const columns = hosts.length <= perRow ? perRow : Math.ceil(Math.sqrt(hosts.length * 1.6));
  const rows: Placed[][] = [];
  for (let i = 0; i < hosts.length; i += columns) {
    const row = hosts.slice(i, i + columns).map((machine) => ({ machine, drawing: drawHost(machine, w, 0) }));
    const tallest = Math.max(...row.map((r) => r.drawing.h));
    let x = 0;
    rows.push(
      row.map(({ machine, drawing }) => {
        const extra = tallest - drawing.h;
        // All stand on one floor; one without containers is no taller than it needs to be.
        const down = machine.namespaces.length === 0 && extra > stretch ? extra : 0;
        const placed = {
          machine,
          drawing: extra > down ? drawHost(machine, w, extra) : drawing,
          x,
          row: rows.length,
          down,
        };
        x += drawing.w + machineGap;
        return placed;
      }),
    );
  }
  const widest = Math.max(0, ...rows.map(rowWidth));
  for (const row of rows) shift(row, (widest - rowWidth(row)) / 2);
  if (rest.length) rows.push(infrastructure(rest, rows, w));
  const least = Math.min(0, ...rows.flat().map((p) => p.x));
  for (const row of rows) shift(row, margin - least + besides(rows));
  return rows;
}

/** Room for wires beside the machines, where there are several rows of them. */
export const besides = (rows: Placed[][]): number => (rows.length > 2 ? machineGap : 0);

export const rowWidth = (row: Placed[]): number => {
  const last = row.at(-1);
  return last ? last.x + last.drawing.w : 0;
};
export const shift = (row: Placed[], by: number): void => row.forEach((p) => (p.x += by));

function infrastructure(rest: Machine[], hosts: Placed[][], w: World): Placed[] {
  const middle = Math.max(0, ...hosts.map(rowWidth)) / 2;
  const known = new Map(hosts.flat().map((p) => [p.machine.node.id, p.x + p.drawing.w / 2]));
  const neighbours = (m: Machine): string[] => w.ends(m.node).flatMap((e) => w.wiredTo(e) ?? []);
  // Each stands below what it connects; one that is behind others, beside them.
  for (let round = 0; round < rest.length; round++) {
    const found = rest.flatMap((m): [string, number][] => {
      if (known.has(m.node.id)) return [];
      const xs = neighbours(m).flatMap((n) => known.get(n) ?? []);
      return xs.length ? [[m.node.id, xs.reduce((a, b) => a + b) / xs.length]] : [];
    });
    if (!found.length) break;
    for (const [id, x] of found) known.set(id, x);
  }
  const wish = (m: Machine): number => known.get(m.node.id) ?? middle;
  const order = rest.toSorted((a, b) => wish(a) - wish(b));

  const level = new Map<LinkId, Side>();
  order.forEach((m, i) => {
    const next = order[i + 1];
    if (!next || stands(m) === 'host' || stands(next) === 'host') return;
    const e = w.ends(m.node).find((one) => w.wiredTo(one) === next.node.id);
    const far = e && w.far(e);
    if (!far) return;
    level.set(e.id, 'east');
    level.set(far.id, 'west');
  });
  const infra = new Set(rest.map((m) => m.node.id));
  const sideOf: SideOf = (e) => {
    const other = w.wiredTo(e) ?? '';
    return { side: level.get(e.id) ?? (infra.has(other) ? 'south' : 'north'), x: known.get(other) ?? 0 };
  };

  const row = order.map((machine) => {
    const how = stands(machine);
    const drawing =
      how === 'switch'
        ? drawSwitch(machine, w, sideOf)
        : how === 'compact'
          ? drawCompact(machine, w, sideOf)
          : drawHost(machine, w, 0);
    return { machine, drawing, x: wish(machine) - drawing.w / 2, row: hosts.length, down: 0 };
  });
  for (let i = 1; i < row.length; i++) {
    const [before, one] = [row[i - 1] as Placed, row[i] as Placed];
    one.x = Math.max(one.x, before.x + before.drawing.w + machineGap);
  }
  // Where they pushed each other far beyond the hosts, they are moved back as a group.
  const beyond = rowWidth(row) - Math.max(0, ...hosts.map(rowWidth));
  if (beyond > overhang) {
    const wished = order.reduce((sum, m) => sum + wish(m), 0) / order.length;
    const got = row.reduce((sum, p) => sum + p.x + p.drawing.w / 2, 0) / row.length;
    shift(row, wished - got);
  }
  straighten(row, hosts, w);
  return row;
}

/** A port of a switch that is nearly below its wire goes there, so that the wire is straight. */
function straighten(row: Placed[], hosts: Placed[][], w: World): void {
  for (const p of row.filter((one) => stands(one.machine) === 'switch')) {
    const ports = [...p.drawing.pins].filter(([, pin]) => pin.side === 'north');
    for (const [id, pin] of ports) {
      const end = w.end(id);
      const far = end && w.far(end);
      const host = far && hosts.at(-1)?.find((one) => one.drawing.pins.has(far.id));
      const above = host && far && (host.drawing.pins.get(far.id)?.x ?? 0) + host.x - p.x;
      const item = p.drawing.items.find((i) => i.id === id);
      if (above === undefined || item?.type !== 'link' || !item.label) continue;
      const others = ports.filter(([other]) => other !== id).map(([, other]) => other.x);
      const free = others.every((x) => Math.abs(x - above) >= portRoom);
      if (Math.abs(above - pin.x) > portRoom / 2 || above < 24 || above > p.drawing.w - 24 || !free) continue;
      item.box.x += above - pin.x;
      item.label.x += above - pin.x;
      pin.x = above;
    }
  }
}
