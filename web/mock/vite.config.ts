import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';
import { mockServer } from './plugin';

// As the server sends it, so that `vite preview` shows what would break.
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; " +
  "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types kabel";

export default defineConfig({
  plugins: [svelte(), mockServer()],
  preview: { headers: { 'Content-Security-Policy': policy } },
});
