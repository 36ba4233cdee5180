/** Durable checkouts and releases over HTTP: each answer was synced to the disk before it left. */
import type { Figure } from "./figures.ts";
import { type BenchOptions, throughput } from "./throughput.ts";

export function benchCheckouts(options: BenchOptions): Promise<Figure[]> {
  return throughput("checkouts", "checkout + release over HTTP, durable", 0, 0.5, options);
}
