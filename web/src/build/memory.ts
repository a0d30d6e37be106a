import { linkId } from '../snapshot';
import type { LinkId, Snapshot } from '../wire';
import { isWire } from './actions';
import type { Deed } from './deeds.svelte';

// What was done by hand survives a reload of the page, and nothing else.

/** By what one knows a world again: where it stood, and the addresses that the kernel drew for its wires. */
interface World {
  revision: number;
  wires: Record<LinkId, string>;
}

interface Kept {
  version: typeof version;
  world: World;
  list: Deed[];
  /** The numbers of the deeds that a redo does again, the next one last. */
  again: number[];
}
const version = 1;
const stored = (session: string): string => `kabel.deeds.${session}`;
/** A session has few of them; this keeps its storage small where somebody has many. */
const most = 200;

function worldOf(s: Snapshot): World {
  const wires: Record<LinkId, string> = {};
  for (const n of s.nodes ?? []) {
    for (const l of n.links ?? []) {
      const id = linkId(n.id, l.name);
      if (isWire(id, l)) wires[id] = l.mac;
    }
  }
  return { revision: s.revision, wires };
}

export function keep(session: string, now: Snapshot, list: Deed[], again: Deed[]): void {
  const kept: Kept = {
    version,
    world: worldOf(now),
    list: list.slice(-most),
    again: again.map((d) => d.number),
  };
  try {
    sessionStorage.setItem(stored(session), JSON.stringify(kept));
  } catch {
    sessionStorage.removeItem(stored(session)); // rather none than an old one
  }
}

/**
 * What was kept, if this is still the same world: else it is forgotten, since
 * what it tells of is gone. Null where nothing was kept at all.
 */
export function recall(session: string, now: Snapshot): Pick<Kept, 'list' | 'again'> | 'other world' | null {
  const text = sessionStorage.getItem(stored(session));
  if (text === null) return null;
  const kept = JSON.parse(text) as Kept;
  if (kept.version === version && isSame(kept.world, worldOf(now))) {
    return { list: kept.list.map((d) => ({ ...d, at: new Date(d.at) })), again: kept.again };
  }
  sessionStorage.removeItem(stored(session));
  return 'other world';
}

function isSame(was: World, is: World): boolean {
  const ids = Object.keys(was.wires);
  // One may have pulled a wire, or given it another address; not all of them at once.
  const known = ids.length === 0 || ids.some((id) => is.wires[id] === was.wires[id]);
  return known && is.revision >= was.revision;
}
