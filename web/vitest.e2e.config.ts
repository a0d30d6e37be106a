import { defineConfig } from 'vitest/config';

// The browser tests: one server, one world after the other.
export default defineConfig({
  test: { include: ['e2e/**/*.test.ts'], testTimeout: 180_000, hookTimeout: 60_000, fileParallelism: false },
});
