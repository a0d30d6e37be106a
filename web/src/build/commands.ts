import { machineOf, netnsOf } from '../snapshot';
import type { Command, NodeId } from '../wire';

/** A namespace that has no name: no command can call it. */
export const isNameless = (node: NodeId): boolean => /^net-\d+$/.test(netnsOf(node));

/**
 * A command as a person types it on the machine: into a namespace, ip and
 * bridge go with -n, everything else by ip netns exec.
 */
export function on(node: NodeId, line: string): Command {
  const netns = netnsOf(node);
  if (!netns || isNameless(node)) return { node, command: line };
  const tool = /^(ip|bridge) (?!netns )/.exec(line);
  const command = tool
    ? `${tool[1]} -n ${netns} ${line.slice(tool[0].length)}`
    : `ip netns exec ${netns} ${line}`;
  return { node: machineOf(node), command };
}

/** What `ip link set … netns` calls a node of the same machine: 1 is the machine's first process. */
export const netnsWord = (node: NodeId): string => netnsOf(node) || '1';

export function routeLine(verb: 'add' | 'del', words: string): string {
  return words.startsWith('-6 ') ? `ip -6 route ${verb} ${words.slice(3)}` : `ip route ${verb} ${words}`;
}
