import { endsOf, netnsOf, splitLink } from '../snapshot';

/** What a thing of the picture is called, and where it is. */
export function called(id: string): { name: string; where: string } {
  const ends = endsOf(id)?.map(splitLink);
  if (ends) return { name: ends.map((e) => e.name).join(' – '), where: '' };
  const { node, name } = splitLink(id);
  if (name) return { name, where: node };
  const netns = netnsOf(node);
  return netns ? { name: netns, where: node.slice(0, -netns.length - 1) } : { name: node, where: '' };
}
