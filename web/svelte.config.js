import { vitePreprocess } from '@sveltejs/vite-plugin-svelte';

/** @type {import('@sveltejs/vite-plugin-svelte').SvelteConfig} */
export default {
  preprocess: vitePreprocess(),
  compilerOptions: {
    runes: true,
    // Elements are made by createElement, not by innerHTML: no second Trusted Types policy is needed.
    fragments: 'tree',
  },
};
