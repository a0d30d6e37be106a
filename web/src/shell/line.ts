import { online } from 'svelte/reactivity/window';
import type { Connection } from '../socket';
import type { Store } from '../store.svelte';

export type LineState = Connection | 'offline' | 'unreachable';

/** How the page stands with the server; a lost connection by what is known of its reason. */
export function lineOf(store: Pick<Store, 'connection' | 'unreachable'>): LineState {
  if (store.connection !== 'reconnecting') return store.connection;
  if (online.current === false) return 'offline';
  return store.unreachable ? 'unreachable' : 'reconnecting';
}
