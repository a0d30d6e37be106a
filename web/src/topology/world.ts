import { machineOf, splitLink, linkId } from '../snapshot';
import type { LinkId, Netdev, Node, NodeId, Snapshot } from '../wire';

export interface Machine {
  node: Node;
  namespaces: Node[];
}

/** One interface and the namespace that it is in. */
export interface End {
  id: LinkId;
  node: Node;
  link: Netdev;
}

/** A snapshot with its cross-references resolved. */
export class World {
  readonly machines: Machine[] = [];
  readonly #ends = new Map<LinkId, End>();
  readonly #endsOf = new Map<NodeId, End[]>();

  constructor(s: Snapshot) {
    const byName = new Map<string, Machine>();
    for (const node of s.nodes ?? []) {
      const ends = (node.links ?? []).map((link) => ({ id: linkId(node.id, link.name), node, link }));
      this.#endsOf.set(node.id, ends);
      for (const end of ends) this.#ends.set(end.id, end);
      if (node.kind === 'netns') {
        byName.get(machineOf(node.id))?.namespaces.push(node);
        continue;
      }
      const machine: Machine = { node, namespaces: [] };
      this.machines.push(machine);
      byName.set(node.id, machine);
    }
  }

  end(id: LinkId): End | undefined {
    return this.#ends.get(id);
  }

  ends(node: Node): End[] {
    return this.#endsOf.get(node.id) ?? [];
  }

  /** The other end of a cable. */
  far(e: End): End | undefined {
    return e.link.peer ? this.end(e.link.peer) : undefined;
  }

  /** The machine at the other end, where that is another one. */
  wiredTo(e: End): string | undefined {
    const far = e.link.peer ? machineOf(splitLink(e.link.peer).node) : undefined;
    return far !== undefined && far !== machineOf(e.node.id) && this.end(e.link.peer ?? '') ? far : undefined;
  }

  /** The interface that carries or is shared by this one, as the kernel names it; it may be in another namespace. */
  lower(e: End): End | undefined {
    const { parent } = e.link;
    if (!parent) return undefined;
    return this.end(parent.includes(':') ? parent : linkId(e.node.id, parent));
  }

  /** The interface with an address: of this node's machine rather than of others. */
  holder(address: string, near: NodeId): End | undefined {
    const all = [...this.#ends.values()].filter((e) => hasAddress(e.link, address));
    return all.find((e) => machineOf(e.node.id) === machineOf(near)) ?? all[0];
  }

  /** Every machine's own addresses and those of its namespaces, without their prefix length. */
  machineWith(address: string): NodeId | undefined {
    for (const m of this.machines) {
      for (const n of [m.node, ...m.namespaces]) {
        if ((n.links ?? []).some((l) => hasAddress(l, address))) return m.node.id;
      }
    }
    return undefined;
  }
}

export const hasAddress = (l: Netdev, address: string): boolean =>
  (l.addresses ?? []).some((a) => a.split('/', 1)[0] === address);

/** The address of "10.0.0.10:9000" or "[fd00::1]:9000". */
export const hostOf = (socket: string): string =>
  socket.slice(0, socket.lastIndexOf(':')).replace(/^\[|\]$/g, '');
export const portOf = (socket: string): string => socket.slice(socket.lastIndexOf(':') + 1);
