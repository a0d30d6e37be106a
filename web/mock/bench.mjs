// Runs bench.ts as Vite would serve it.
import { createServer } from 'vite';

const server = await createServer({
  configFile: 'mock/vite.config.ts',
  server: { middlewareMode: true, ws: false, watch: null },
  appType: 'custom',
  logLevel: 'error',
});
await server.ssrLoadModule('/mock/bench.ts');
await server.close();
