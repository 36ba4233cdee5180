/**
 * Versions as license files write them: numbers with dots, `2026.1` or `11.16.2`. A missing part counts
 * as zero; a part that is not a number compares as text after all numbers.
 */
export function compareVersions(left: string, right: string): number {
  const a = left.split(".");
  const b = right.split(".");
  for (let index = 0; index < Math.max(a.length, b.length); index += 1) {
    const order = compareParts(a[index] ?? "0", b[index] ?? "0");
    if (order !== 0) return order;
  }
  return 0;
}

function compareParts(left: string, right: string): number {
  const a = /^\d+$/.test(left) ? Number(left) : null;
  const b = /^\d+$/.test(right) ? Number(right) : null;
  if (a !== null && b !== null) return Math.sign(a - b);
  if (a !== null) return -1;
  if (b !== null) return 1;
  return left < right ? -1 : left > right ? 1 : 0;
}
