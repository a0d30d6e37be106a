const stored = 'kabel.tryFirst';

/** Whether the reader wants to try each step before its commands are shown. */
class TriesFirst {
  on = $state(localStorage.getItem(stored) === 'yes');

  turn(on: boolean): void {
    this.on = on;
    localStorage.setItem(stored, on ? 'yes' : 'no');
  }
}

export const triesFirst = new TriesFirst();
