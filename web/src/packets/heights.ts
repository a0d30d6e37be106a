/** An item that is higher than the others. */
export interface Unfolded {
  index: number;
  extra: number;
}

/**
 * Where the items of a long list stand: all have one height, but for those that
 * are unfolded (few, in order). Nothing is measured.
 */
export class Heights {
  readonly total: number;
  readonly #sums: number[] = []; // of the extra heights before and with each unfolded one

  constructor(
    readonly count: number,
    readonly height: number,
    private readonly unfolded: Unfolded[] = [],
  ) {
    let sum = 0;
    for (const u of unfolded) this.#sums.push((sum += u.extra));
    this.total = count * height + sum;
  }

  top(index: number): number {
    return index * this.height + this.#before(index);
  }

  bottom(index: number): number {
    return this.top(index + 1);
  }

  /** The item at this height; the last one below the end. */
  at(y: number): number {
    let [low, high] = [0, Math.max(0, this.count - 1)];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.top(middle) <= y) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  /** The items that a window shows, and some more on both sides; `end` is not among them. */
  window(top: number, height: number, more: number): { first: number; end: number } {
    if (this.count === 0) return { first: 0, end: 0 };
    const first = Math.max(0, this.at(top) - more);
    return { first, end: Math.min(this.count, this.at(top + height) + 1 + more) };
  }

  #before(index: number): number {
    let [low, high] = [0, this.unfolded.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.unfolded[middle] as Unfolded).index < index) low = middle + 1;
      else high = middle;
    }
    return this.#sums[low - 1] ?? 0;
  }
}
