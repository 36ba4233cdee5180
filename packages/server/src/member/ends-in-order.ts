/** A binary heap: what ends first comes out first. */
export class EndsInOrder<Item extends { readonly endMs: number }> {
  private readonly heap: Item[] = [];

  first(): Item | undefined {
    return this.heap[0];
  }

  push(item: Item): void {
    const { heap } = this;
    let at = heap.length;
    while (at > 0) {
      const above = (at - 1) >> 1;
      const parent = heap[above];
      if (parent === undefined || parent.endMs <= item.endMs) break;
      heap[at] = parent;
      at = above;
    }
    heap[at] = item;
  }

  shift(): void {
    const { heap } = this;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let at = 0;
    for (;;) {
      const left = 2 * at + 1;
      const right = left + 1;
      const isRight = (heap[right]?.endMs ?? Infinity) < (heap[left]?.endMs ?? Infinity);
      const below = isRight ? right : left;
      const child = heap[below];
      if (child === undefined || child.endMs >= last.endMs) break;
      heap[at] = child;
      at = below;
    }
    heap[at] = last;
  }
}
