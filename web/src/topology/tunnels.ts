import { machineOf } from '../snapshot';
import { hasAddress, hostOf, portOf, type End, type World } from './world';

/** Two interfaces that carry frames for each other inside packets of another network. */
export interface Tunnel {
  a: End;
  b: End;
  label: string;
}

/**
 * The tunnels that the snapshot has evidence for: a VXLAN device that names the
 * other machine as its remote or in its FDB (or both in one multicast group),
 * devices of another kind (gre, ipip, …) that name each other's addresses, and
 * TUN devices between whose machines a UDP socket is connected.
 */
export function tunnels(w: World): Tunnel[] {
  const ends = w.machines.map((m) =>
    [m.node, ...m.namespaces]
      .flatMap((n) => w.ends(n))
      .filter((e) => e.link.vxlan ?? e.link.tunnel ?? isTun(e)),
  );
  const out: Tunnel[] = [];
  ends.forEach((here, i) => {
    ends.slice(i + 1).forEach((there, k) => {
      const [a, b] = [w.machines[i], w.machines[i + 1 + k]];
      if (!a || !b) return;
      const leads = (x: End, to: string): boolean => remotes(x).some((r) => w.machineWith(r) === to);
      for (const x of here.filter((e) => e.link.vxlan)) {
        for (const y of there.filter((e) => e.link.vxlan?.vni === x.link.vxlan?.vni)) {
          const group = x.link.vxlan?.remote !== undefined && x.link.vxlan.remote === y.link.vxlan?.remote;
          if (!group && !leads(x, b.node.id) && !leads(y, a.node.id)) continue;
          out.push({ a: x, b: y, label: `VXLAN ${x.link.vxlan?.vni ?? ''}` });
        }
      }
      for (const x of here.filter((e) => e.link.tunnel))
        for (const y of there.filter((e) => e.link.kind === x.link.kind))
          if (facing(x, y, w)) out.push({ a: x, b: y, label: labelOf(x) });
      const [x, y] = [here.find(isTun), there.find(isTun)];
      if (!x || !y) return;
      const socket =
        (a.node.sockets ?? []).find((s) => udpTo(s, (ip) => w.machineWith(ip) === b.node.id)) ??
        (b.node.sockets ?? []).find((s) => udpTo(s, (ip) => w.machineWith(ip) === a.node.id));
      if (socket) out.push({ a: x, b: y, label: `UDP ${portOf(socket.remote ?? '')}` });
    });
  });
  return out;
}

/** Whether what one sends arrives at the other, both ways; an end that takes all comers names nobody. */
function facing(x: End, y: End, w: World): boolean {
  const [a, b] = [x.link.tunnel, y.link.tunnel];
  if (!a || !b || a.key !== b.key || (a.remote === undefined && b.remote === undefined)) return false;
  const reaches = (remote: string | undefined, to: End): boolean => {
    if (remote === undefined) return true;
    const local = to.link.tunnel?.local;
    return local === undefined ? w.machineWith(remote) === machineOf(to.node.id) : remote === local;
  };
  return reaches(a.remote, y) && reaches(b.remote, x);
}

/** "GRE 7", "IPIP"; over IPv6 it is called the same. */
const labelOf = ({ link }: End): string =>
  [link.kind.replace(/^ip6(?=gre)/, '').toUpperCase(), link.tunnel?.key].filter(Boolean).join(' ');

export const isTun = (e: End): boolean => e.link.kind === 'tun' || e.link.kind === 'tap';

function udpTo(s: { protocol: string; remote?: string }, here: (ip: string) => boolean): boolean {
  return s.protocol === 'udp' && s.remote !== undefined && here(hostOf(s.remote));
}

function remotes(e: End): string[] {
  const learned = (e.node.fdb ?? []).filter((f) => f.dev === e.link.name).flatMap((f) => f.dst ?? []);
  return [...learned, ...(e.link.vxlan?.remote ? [e.link.vxlan.remote] : [])];
}

/** The interface that carries the packets of this one. */
export function underlay(e: End, w: World): End | undefined {
  const siblings = w.ends(e.node);
  const lower = w.lower(e);
  if (lower) return lower;
  let local = e.link.vxlan?.local ?? e.link.tunnel?.local;
  if (isTun(e)) {
    const socket = (e.node.sockets ?? []).find((s) => s.protocol === 'udp' && s.remote !== undefined);
    local = socket && hostOf(socket.local);
  }
  return local === undefined ? undefined : siblings.find((s) => s !== e && hasAddress(s.link, local));
}
