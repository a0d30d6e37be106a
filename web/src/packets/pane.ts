// All of the pane in one chunk: who never opens it never loads it.
import CableReach from './CableReach.svelte';
import { Packets } from './packets.svelte';
import Pane from './Pane.svelte';
import Traffic from './Traffic.svelte';

export const parts = { CableReach, Packets, Pane, Traffic };
