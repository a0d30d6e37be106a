import type { LinkId } from '../wire';
import { isVeth } from './container';
import { underlay } from './tunnels';
import type { End, Machine, World } from './world';

/** What a machine's own namespace holds, by its place in the grammar. */
export interface RootParts {
  chips: End[];
  bridges: End[];
  /** Interfaces that others in namespaces share (macvlan): drawn as wide as bridges. */
  shared: End[];
  /** Ports of a bridge whose cable comes from a namespace above. */
  north: End[];
  /** Pills whose cable comes from a namespace above. */
  attached: End[];
  /** Unplugged: cables with both ends here, one end perhaps in a bridge; single devices. */
  loose: { ends: End[]; bar: End | null; port: End | null }[];
  /** Both ends are ports of bridges here. */
  loops: [End, End][];
  /** Carried by another interface: tunnels, VLANs, macvlans of the machine's own. */
  riders: End[];
  uplinks: End[];
}

const tunnelKinds = new Set(['vxlan', 'tun', 'tap', 'wireguard']);

export function sortRoot(m: Machine, w: World): RootParts {
  const parts: RootParts = {
    chips: [],
    bridges: [],
    shared: [],
    north: [],
    attached: [],
    loose: [],
    loops: [],
    riders: [],
    uplinks: [],
  };
  const ends = w.ends(m.node);
  const barOf = (e: End): End | null =>
    ends.find((b) => b.link.name === e.link.master && b.link.kind === 'bridge') ?? null;
  const isShared = sharing(m, w);
  const seen = new Set<LinkId>();
  for (const e of ends) {
    if (seen.has(e.id)) continue;
    const far = w.far(e);
    const away = far !== undefined && far.node.id !== e.node.id;
    if (e.link.kind === 'loopback') parts.chips.push(e);
    else if (e.link.kind === 'bridge') parts.bridges.push(e);
    else if (isShared(e) && !(isVeth(e) && away && w.wiredTo(e) === undefined)) {
      parts.shared.push(e);
    } else if (w.wiredTo(e) !== undefined) parts.uplinks.push(e);
    else if (isVeth(e) && away) (barOf(e) ? parts.north : parts.attached).push(e);
    else if (isVeth(e) && far && !isShared(far)) {
      seen.add(far.id);
      const [here, there] = [barOf(e), barOf(far)];
      if (here && there) parts.loops.push([e, far]);
      else if (here) parts.loose.push({ ends: [far], bar: here, port: e });
      else if (there) parts.loose.push({ ends: [e], bar: there, port: far });
      else parts.loose.push({ ends: [e, far], bar: null, port: null });
    } else if (isVeth(e) || e.link.kind === 'dummy')
      parts.loose.push({ ends: [e], bar: barOf(e), port: null });
    else if (underlay(e, w) || e.link.tunnel || tunnelKinds.has(e.link.kind)) parts.riders.push(e);
    else parts.uplinks.push(e);
  }
  return parts;
}

/** Whether an interface is shared by others in the machine's namespaces. */
function sharing(m: Machine, w: World): (e: End) => boolean {
  const lower = new Set<LinkId>();
  for (const n of m.namespaces)
    for (const e of w.ends(n)) {
      const under = isVeth(e) ? undefined : w.lower(e);
      if (under && under.node.id !== n.id) lower.add(under.id);
    }
  return (e) => lower.has(e.id);
}
