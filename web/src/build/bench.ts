import Bench from './Bench.svelte';
import Reach from './Reach.svelte';

/** What is loaded when the page is there, in one piece. */
export const parts = { Bench, Reach };
