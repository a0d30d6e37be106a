import type { LabProgress, LabSummary, Progress } from '../wire';

/** One lab on the way through a track, and how far the learner came in it. */
export interface Station {
  lab: LabSummary;
  /** Its place in the track, from 1. */
  number: number;
  state: 'todo' | 'begun' | 'done';
  /** Steps done, in the session that was used last; null where nobody knows. */
  steps: number | null;
  /** A session that can be gone on with. */
  session: string | null;
}

export interface Track {
  id: string;
  stations: Station[];
  done: number;
}

export interface Path {
  tracks: Track[];
  /** What the learner was at last, and can go on with. */
  resume: Station | null;
  /** What to do now: that, or the first lab that is not done. */
  next: Station | null;
}

/** What the learner has done in all. */
export interface Totals {
  labs: number;
  steps: number;
  minutes: number;
}

/** The labs as a path. Sessions that only this browser remembers (`kept`) can be gone on with, too. */
export function pathOf(
  labs: LabSummary[],
  progress: Progress | null,
  kept: (lab: string) => string | undefined,
): Path {
  const records = byLab(progress);
  const tracks: Track[] = [];
  const lastUsed = new Map<Station, string>();
  for (const lab of labs) {
    let track = tracks.find((t) => t.id === lab.track);
    if (!track) tracks.push((track = { id: lab.track, stations: [], done: 0 }));
    const mine = records.get(lab.id) ?? [];
    const latest = mine[0];
    const alive = mine.find((r) => r.alive);
    const steps = latest ? latest.steps.filter((s) => s.done_at).length : null;
    const done = mine.some((r) => r.done_at);
    const session = alive?.session ?? (latest ? null : (kept(lab.id) ?? null));
    const state = done ? 'done' : session !== null ? 'begun' : 'todo';
    const station: Station = { lab, number: track.stations.length + 1, state, steps, session };
    track.stations.push(station);
    if (done) track.done++;
    if (session !== null) lastUsed.set(station, alive?.last ?? '');
  }
  const all = tracks.flatMap((t) => t.stations);
  const open = all.filter((s) => s.state === 'begun');
  const resume = open.toSorted((a, b) => compare(lastUsed.get(b), lastUsed.get(a)))[0] ?? null;
  return { tracks, resume, next: resume ?? all.find((s) => s.state === 'todo') ?? null };
}

export function totalsOf(progress: Progress | null): Totals {
  const records = [...byLab(progress).values()];
  const steps = new Map<string, number>(); // seconds, each step once
  for (const r of records.flat()) {
    for (const s of r.steps.filter((one) => one.done_at)) {
      const key = `${r.lab} ${s.id}`;
      steps.set(key, Math.max(steps.get(key) ?? 0, s.seconds));
    }
  }
  const seconds = [...steps.values()].reduce((sum, s) => sum + s, 0);
  return {
    labs: records.filter((of) => of.some((r) => r.done_at)).length,
    steps: steps.size,
    minutes: Math.round(seconds / 60),
  };
}

/** What was done in each lab, the session that was used last first. */
function byLab(progress: Progress | null): Map<string, LabProgress[]> {
  const found = new Map<string, LabProgress[]>();
  for (const r of progress?.labs ?? []) found.set(r.lab, [...(found.get(r.lab) ?? []), r]);
  for (const of of found.values()) of.sort((a, b) => compare(b.last, a.last));
  return found;
}

const compare = (a = '', b = ''): number => (a < b ? -1 : a > b ? 1 : 0);
