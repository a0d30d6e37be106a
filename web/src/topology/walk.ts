import { cableId } from '../snapshot';
import type { LinkId } from '../wire';
import type { Cable, Item, Picture } from './picture';

/**
 * Where the keyboard is in the tree. A cable belongs to the end that one came
 * from: below that interface it is an item like others, until one leaves it.
 */
export interface Stop {
  item: Item;
  cable?: Cable;
}

export const idOf = ({ item, cable }: Stop): string => (cable ? cableId(...cable.ends) : item.id);

export const cablesAt = (p: Picture, id: LinkId): Cable[] => p.cables.filter((c) => c.ends.includes(id));

/** The other end of a cable. */
export const across = (c: Cable, from: LinkId): LinkId => (c.ends[0] === from ? c.ends[1] : c.ends[0]);

/** What has the keyboard after a key, or undefined where the key leads nowhere. */
export function walked(p: Picture, at: Stop, key: string): Stop | undefined {
  const { item, cable } = at;
  const there = (i: Item | undefined): Stop | undefined => i && { item: i };
  const named = (id: string | null): Stop | undefined => there(p.items.find((i) => i.id === id));
  const next = (by: number): Stop | undefined => there(p.items[p.items.indexOf(item) + by]);
  const cables = cablesAt(p, item.id);
  const one = (i: number): Stop | undefined => {
    const found = cables[i];
    return found && { item, cable: found };
  };
  switch (key) {
    case 'ArrowDown':
      return (cable && one(cables.indexOf(cable) + 1)) ?? next(1);
    case 'ArrowUp':
      return cable ? (one(cables.indexOf(cable) - 1) ?? { item }) : next(-1);
    case 'ArrowLeft':
      return cable ? { item } : named(item.parent);
    case 'ArrowRight':
      if (cable) return named(across(cable, item.id));
      return item.type === 'link' ? one(0) : there(p.items.find((i) => i.parent === item.id));
    case 'c':
      return cable ? named(across(cable, item.id)) : one(0);
    case 'Home':
      return there(p.items[0]);
    case 'End':
      return there(p.items.at(-1));
    default:
      return undefined;
  }
}

/**
 * Where the keyboard was, in another picture: at the same thing, else at what
 * is left of it, else at the beginning.
 */
export function found(p: Picture, id: string, from: LinkId): Stop | undefined {
  const named = (one: string): Item | undefined => p.items.find((i) => i.id === one);
  const end = named(from);
  const cable = end && cablesAt(p, from).find((c) => cableId(...c.ends) === id);
  if (cable) return { item: end, cable };
  const [node = '', machine = ''] = [id.split(':', 1)[0], id.split(/[:/]/, 1)[0]];
  const item = named(id) ?? (id.includes('=') ? end : undefined) ?? named(node) ?? named(machine);
  return item ? { item } : p.items[0] && { item: p.items[0] };
}
