import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["packages/*/src/**/*.test.ts", "tests/**/*.test.ts"],
    exclude: ["**/node_modules/**"],
    pool: "forks",
    testTimeout: 30_000,
    // A busy machine may be slow; who polls fails only at what never comes.
    expect: { poll: { timeout: 10_000 } },
  },
});
