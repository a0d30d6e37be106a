// Runs a file of this folder as Vite would serve it: bench.mjs FILE.
import { createServer } from 'vite';

// What a developer's build adds is not measured.
process.env.NODE_ENV = 'production';
const server = await createServer({
  configFile: 'mock/vite.config.ts',
  server: { middlewareMode: true, ws: false, watch: null },
  appType: 'custom',
  logLevel: 'error',
});
await server.ssrLoadModule(`/mock/${process.argv[2] ?? 'bench.ts'}`);
await server.close();
