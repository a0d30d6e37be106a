const stored = 'kabel.sessions';

/** The last session of each lab in this browser, so that a reader finds the way back. */
class Kept {
  #sessions = $state.raw<Record<string, string>>(read());

  of(lab: string): string | undefined {
    return this.#sessions[lab];
  }

  keep(lab: string, session: string): void {
    this.#write({ ...this.#sessions, [lab]: session });
  }

  drop(lab: string, session: string): void {
    if (this.#sessions[lab] !== session) return;
    this.#write(Object.fromEntries(Object.entries(this.#sessions).filter(([l]) => l !== lab)));
  }

  clear(): void {
    this.#write({});
  }

  #write(sessions: Record<string, string>): void {
    this.#sessions = sessions;
    localStorage.setItem(stored, JSON.stringify(sessions));
  }
}

function read(): Record<string, string> {
  try {
    const was: unknown = JSON.parse(localStorage.getItem(stored) ?? '{}');
    if (typeof was !== 'object' || was === null) return {};
    return Object.fromEntries(
      Object.entries(was).filter((e): e is [string, string] => typeof e[1] === 'string'),
    );
  } catch {
    return {};
  }
}

export const kept = new Kept();
