import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';
import { mockServer } from './plugin';

export default defineConfig({ plugins: [svelte(), mockServer()] });
