// All of the pane in one chunk: who never opens it never loads it.
import { Packets } from './packets.svelte';
import Pane from './Pane.svelte';
import Traffic from './Traffic.svelte';

export const parts = { Packets, Pane, Traffic };
