import { defineConfig } from 'vite';

export default defineConfig({
  // The server answers GET /graphql with the page, and its files below /graphql/assets.
  base: '/graphql/',
  // Monaco's workers become files of our own origin like every other one.
  worker: { format: 'es' },
  build: {
    target: 'es2022',
    // What the bundle is made of asks that its licences go with it.
    license: { fileName: 'licenses.md' },
    // An editor is one large chunk, however it is cut.
    chunkSizeWarningLimit: 5000,
    rolldownOptions: {
      // "use client" speaks to server-side rendering, of which there is none here. Timings are
      // reported when a build is slow, as on a busy machine.
      onLog(level, log, handle) {
        if (!['MODULE_LEVEL_DIRECTIVE', 'PLUGIN_TIMINGS'].includes(log.code)) handle(level, log);
      },
    },
  },
});
