import Bench from './Bench.svelte';
import { Deeds } from './deeds.svelte';
import Reach from './Reach.svelte';

/** What is loaded when the page is there, in one piece. */
export const parts = { Bench, Deeds, Reach };
