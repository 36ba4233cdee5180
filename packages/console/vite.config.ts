import { defineConfig } from "vite";

/** The workspace packages are pure: a module of theirs that nothing is imported from can be left out whole. */
const PURE = /\/packages\/(core|protocol)\/|\/node_modules\/(jose|typebox)\//;

export default defineConfig({
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    target: "es2023",
    emptyOutDir: true,
    modulePreload: { polyfill: false },
    rolldownOptions: { treeshake: { moduleSideEffects: (id) => !PURE.test(id) } },
  },
});
