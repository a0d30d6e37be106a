/** Which of the values that one looks at have just become other ones. */
export class Fresh {
  keys = $state.raw<ReadonlySet<string>>(new Set());
  /** Changes with every change, so that what glows a second time begins anew. */
  turn = $state(0);
  #of = '';
  #values = new Map<string, string>();

  /** Takes what is shown now of one thing. Nothing is fresh of what was not looked at before. */
  take(of: string, values: Map<string, string>): void {
    const changed = changedKeys(this.#values, values);
    const other = of !== this.#of;
    this.#of = of;
    this.#values = values;
    if (other) this.keys = new Set();
    else if (changed.size > 0) {
      this.keys = changed;
      this.turn++;
    }
  }
}

export function changedKeys(before: Map<string, string>, now: Map<string, string>): Set<string> {
  return new Set([...now].filter(([key, value]) => before.get(key) !== value).map(([key]) => key));
}
