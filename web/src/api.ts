import type {
  Applied,
  Catalogue,
  Command,
  Exec,
  ExecResult,
  FreeWorld,
  Lab,
  LabSummary,
  NewSession,
  NodeId,
  OpDone,
  Predicted,
  Probe,
  ProbeResult,
  Problem,
  Progress,
  ResetTo,
  Session,
  Spoken,
  StepChanges,
  Term,
} from './wire';

/** A request that was refused or that could not be made. */
export class RequestError extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(problem.detail ?? problem.title);
    this.problem = problem;
  }
}

export interface Api {
  labs(language: string): Promise<LabSummary[]>;
  catalogue(): Promise<Catalogue>;
  /** The lab of a session, as the session has it. */
  lab(session: string, language: string): Promise<Lab>;
  demoLab(language: string): Promise<Lab>;
  glossary(language: string): Promise<Term[]>;
  create(lab: string, variant: string, language: string): Promise<Session>;
  createFree(world: FreeWorld, language: string): Promise<Session>;
  progress(): Promise<Progress>;
  forget(): Promise<void>;
  session(id: string): Promise<Session>;
  /** Has the session's hints told in another language. */
  speak(id: string, language: string): Promise<Session>;
  end(id: string): Promise<void>;
  reset(id: string, step?: string): Promise<Session>;
  apply(id: string, step: string): Promise<Applied>;
  predict(id: string, step: string, choice: string): Promise<Session>;
  /** What a step changed; null where the server does not know it. */
  changes(id: string, step: string): Promise<StepChanges | null>;
  /** Notes that the reader has asked for a step's hint. */
  hint(id: string, step: string): Promise<unknown>;
  op(id: string, node: NodeId, command: string): Promise<OpDone>;
  exec(id: string, node: NodeId, argv: string[]): Promise<ExecResult>;
  probe(id: string, probe: Probe): Promise<ProbeResult>;
  streamUrl(id: string): string;
  /** Where the demo is followed. */
  demoUrl(what: 'stream' | 'packets'): string;
}

/** What was done, as files to keep. */
export const progressFiles = { json: '/api/v1/progress', csv: '/api/v1/progress.csv' } as const;

const root = '/api/v1';

export function httpApi(): Api {
  const at = (...parts: string[]): string => [root, ...parts.map(encodeURIComponent)].join('/');
  const session = (id: string, ...rest: string[]): string => at('sessions', id, ...rest);
  const socket = (path: string): string => new URL(path, location.href.replace(/^http/, 'ws')).href;
  return {
    labs: (language) => call('GET', at('labs'), { language }),
    catalogue: () => call('GET', at('catalogue')),
    lab: (id, language) => call('GET', session(id, 'lab'), { language }),
    demoLab: (language) => call('GET', at('labs', 'demo'), { language }),
    glossary: (language) => call('GET', at('glossary'), { language }),
    create: (lab, variant, language) =>
      call('POST', at('sessions'), {
        language,
        body: { lab, language, ...(variant && { variant }) } satisfies NewSession,
      }),
    createFree: (free, language) =>
      call('POST', at('sessions'), { language, body: { free, language } satisfies NewSession }),
    progress: () => call('GET', at('progress')),
    forget: () => call('DELETE', at('progress')),
    session: (id) => call('GET', session(id)),
    speak: (id, language) => call('PUT', session(id, 'language'), { body: { language } satisfies Spoken }),
    end: (id) => call('DELETE', session(id)),
    reset: (id, step) =>
      call('POST', session(id, 'reset'), { body: (step ? { step } : {}) satisfies ResetTo }),
    apply: (id, step) => call('POST', session(id, 'steps', step, 'apply')),
    predict: (id, step, choice) =>
      call('POST', session(id, 'steps', step, 'predict'), { body: { choice } satisfies Predicted }),
    changes: async (id, step) =>
      (await call<{ changes: StepChanges | null }>('GET', session(id, 'steps', step, 'changes'))).changes,
    hint: (id, step) => call('POST', session(id, 'steps', step, 'hint')),
    op: (id, node, command) =>
      call('POST', session(id, 'ops'), { body: { node, command } satisfies Command }),
    exec: (id, node, argv) => call('POST', session(id, 'exec'), { body: { node, argv } satisfies Exec }),
    // A step's own probe knows its command; the request has no place for it.
    probe: (id, { from, kind, to, count, size, dont_fragment }) =>
      call('POST', session(id, 'probes'), { body: { from, kind, to, count, size, dont_fragment } }),
    streamUrl: (id) => socket(session(id, 'stream')),
    demoUrl: (what) => socket(at('demo', what)),
  };
}

async function call<T>(
  method: string,
  url: string,
  with_: { language?: string; body?: unknown } = {},
): Promise<T> {
  const headers: Record<string, string> = { Accept: 'application/json' };
  if (with_.language) headers['Accept-Language'] = with_.language;
  if (with_.body !== undefined) headers['Content-Type'] = 'application/json';
  let response: Response;
  try {
    const body = with_.body === undefined ? null : JSON.stringify(with_.body);
    response = await fetch(url, { method, headers, body, credentials: 'same-origin' });
  } catch {
    throw new RequestError({ code: 'unreachable', title: '' });
  }
  if (!response.ok) throw new RequestError(await problemOf(response));
  if (response.status === 204) return undefined as T;
  try {
    return (await response.json()) as T;
  } catch {
    throw new RequestError({ code: 'bad-answer', title: '', status: response.status });
  }
}

/** What the server said; a proxy in between may answer with something else than a problem. */
async function problemOf(response: Response): Promise<Problem> {
  const fallback: Problem = { code: `http-${response.status}`, title: response.statusText };
  try {
    const said: unknown = await response.json();
    if (typeof said !== 'object' || said === null) return { ...fallback, status: response.status };
    return { ...fallback, ...said, status: response.status };
  } catch {
    return { ...fallback, status: response.status };
  }
}
