// Plays the server in `npm run mock`: the API's shapes with toy worlds behind them.
import { randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Plugin, PreviewServer, ViteDevServer } from 'vite';
import { WebSocketServer, type WebSocket } from 'ws';
import type {
  Command,
  FreeWorld,
  LabProgress,
  Probe,
  ProbeResult,
  Session,
  StepChanges,
  StepProgress,
  StreamMessage,
} from '../src/wire';
import { ToyDemo } from './demo';
import { build, free, models, type Model } from './models';
import { ToyTerminals } from './terminals';
import { Refused, whole, type ToyWorld } from './world';

class Problem extends Error {
  readonly status: number;
  readonly more: Record<string, unknown>;

  constructor(status: number, code: string, title: string, more: Record<string, unknown> = {}) {
    super(title);
    this.status = status;
    this.more = { code, title, status, ...more };
  }
}

class ToySession {
  readonly id = randomUUID().slice(0, 8);
  readonly viewers = new Set<WebSocket>();
  readonly terminals = new ToyTerminals((node, line) => this.shell(node, line));
  world: ToyWorld;
  steps: StepProgress[];
  readonly changes = new Map<string, StepChanges>();
  readonly model: Model;
  language: string;
  readonly started = new Date().toISOString();

  constructor(model: Model, language: string) {
    this.model = model;
    this.language = language;
    this.world = build(model);
    this.steps = model.steps.map((s) => ({ id: s.id, state: 'todo' }));
  }

  tell(): Session {
    const current = this.steps.find((s) => s.state === 'todo')?.id;
    const nodes = (this.world.snapshot().nodes ?? []).map((n) => n.id);
    const said = {
      id: this.id,
      lab: this.model.id,
      variant: '',
      language: this.language,
      state: 'ready' as const,
    };
    return { ...said, steps: this.steps, nodes, ...(current && { current }) };
  }

  progress(): LabProgress {
    const now = new Date().toISOString();
    const done = this.steps.filter((s) => s.state === 'done');
    return {
      lab: this.model.id,
      variant: '',
      session: this.id,
      alive: true,
      started: this.started,
      last: now,
      ...(done.length === this.steps.length && { done_at: now }),
      steps: done.map((s) => ({ id: s.id, done_at: now, seconds: 95, attempts: 1, hints: 0, predicted: '' })),
      total_steps: this.steps.length,
    };
  }

  send(m: StreamMessage): void {
    for (const v of this.viewers) v.send(JSON.stringify(m));
  }

  /** One command, then what changed by it, as the kernel would tell. */
  do(node: string, command: string, applied = 0): void {
    const before = this.world.snapshot();
    try {
      this.world.run(node, command);
    } catch (e) {
      if (!(e instanceof Refused)) throw e;
      const detail = e.message;
      throw new Problem(422, 'op-failed', 'The command failed', {
        detail,
        command,
        node,
        errno: e.errno,
        applied,
      });
    }
    const after = this.world.snapshot();
    const was = new Map((before.nodes ?? []).map((n) => [n.id, JSON.stringify(n)]));
    const changed = (after.nodes ?? []).filter((n) => was.get(n.id) !== JSON.stringify(n)).map(whole);
    const order = (after.nodes ?? []).map((n) => n.id);
    this.send({ type: 'diff', diff: { from: before.revision, to: after.revision, order, changed } });
  }

  /** A line that was typed: a command of the world, or the list of namespaces. */
  shell(node: string, line: string): string {
    if (line === 'ip netns') {
      const names = this.tell().nodes.filter((n) => n.startsWith(`${node}/`));
      return names.map((n) => n.slice(node.length + 1)).join('\n');
    }
    try {
      this.do(node, line);
    } catch (e) {
      if (!(e instanceof Problem)) throw e;
      return `\x1b[31m${String(e.more.detail)}\x1b[m`;
    }
    const step = this.model.steps.find((s) => s.do.some(([n, c]) => n === node && c === line));
    const progress = this.steps.find((s) => s.id === step?.id);
    if (progress && step?.do.at(-1)?.[1] === line) progress.state = 'done';
    this.send({ type: 'session', session: this.tell() });
    return '';
  }

  probe(p: Probe): ProbeResult {
    const result = this.world.probe(p);
    this.send({ type: 'probe', result });
    return result;
  }

  apply(id: string): ProbeResult[] {
    const step = this.model.steps.find((s) => s.id === id);
    const progress = this.steps.find((s) => s.id === id);
    if (!step || !progress) throw new Problem(404, 'unknown-step', 'There is no such step');
    const from = this.world.snapshot();
    step.do.forEach(([node, command], i) => this.do(node, command, i));
    this.changes.set(id, { from, to: this.world.snapshot() });
    const results = (step.probes ?? []).map((p) => this.probe(p));
    progress.state = 'done';
    delete progress.hint;
    const prediction = progress.prediction;
    if (prediction && step.predict) {
      prediction.answer = step.predict.answer;
      prediction.right = prediction.choice === prediction.answer;
    }
    const next = this.steps.find((s) => s.state === 'todo');
    if (next?.id === 'cable') next.hint = 'The namespace is there, and still empty: it needs an interface.';
    this.send({ type: 'session', session: this.tell() });
    return results;
  }

  reset(step: string | undefined): void {
    const revision = this.world.revision;
    this.terminals.reset();
    this.world = build(this.model);
    this.steps = this.model.steps.map((s) => ({ id: s.id, state: 'todo' }));
    for (const s of this.model.steps) {
      if (!step || s.id === step) break;
      this.apply(s.id);
    }
    this.world.revision = revision + 1;
    this.send({ type: 'snapshot', snapshot: this.world.snapshot() });
    this.send({ type: 'session', session: this.tell() });
  }
}

const commandsOf = (m: Model, i: number): Command[] =>
  (m.steps[i]?.do ?? []).map(([node, command]) => ({ node, command }));

const about = (m: Model) => ({
  id: m.id,
  title: m.title,
  summary: m.summary,
  track: m.track,
  minutes: m.minutes,
  variants:
    m.id === 'one-namespace'
      ? [
          { id: 'english', title: 'kon, 172.16.0.1' },
          { id: 'korean', title: 'red, 192.168.0.1' },
        ]
      : [],
});

export function mockServer(): Plugin {
  const sessions = new Map<string, ToySession>();
  const demo = new ToyDemo();

  const find = (id: string | undefined): ToySession => {
    const s = sessions.get(id ?? '');
    if (!s) throw new Problem(404, 'unknown-session', 'There is no such session');
    return s;
  };

  function answer(
    method: string,
    path: string[],
    body: Record<string, string> & { free?: FreeWorld },
  ): [number, unknown] {
    const [what, id, verb, step, act] = path;
    if (what === 'progress') {
      if (method === 'DELETE') sessions.clear();
      const labs = [...sessions.values()].map((s) => s.progress());
      return method === 'DELETE' ? [204, undefined] : [200, { labs }];
    }
    if (what === 'labs' && id === 'demo') return [200, demo.lab()];
    if (what === 'labs' && !id) {
      const steps = (m: Model) =>
        m.steps.map((s, i) => ({ id: s.id, title: s.title, commands: commandsOf(m, i) }));
      return [200, models.map((m) => ({ ...about(m), steps: steps(m) }))];
    }
    const whole = (m: Model): [number, unknown] => {
      const steps = m.steps.map(({ do: _, predict, ...s }, i) => ({
        ...s,
        commands: commandsOf(m, i),
        ...(predict && { predict: { question: predict.question, options: predict.options } }),
      }));
      const intro =
        '<p>Two machines, a switch and a router. <strong>host1</strong> is where you work; what you make on it is drawn on the right as the kernel tells it.</p>';
      return [200, { ...about(m), intro, language: 'en', steps }];
    };
    if (what === 'catalogue') return [200, { edition: '', left_out: [] }];
    if (what === 'glossary') return [200, []];
    if (what !== 'sessions') throw new Problem(404, 'not-found', 'Not Found');
    if (method === 'POST' && !id) {
      const m = body.free ? free(body.free) : models.find((one) => one.id === body.lab);
      if (!m) throw new Problem(404, 'unknown-lab', 'There is no such lab');
      const s = new ToySession(m, body.language ?? 'en');
      sessions.set(s.id, s);
      return [201, { ...s.tell(), token: randomUUID() }];
    }
    const s = find(id);
    const revision = (): { revision: number } => ({ revision: s.world.revision });
    switch (`${method} ${verb ?? ''}`) {
      case 'GET ':
        return [200, s.tell()];
      case 'DELETE ':
        sessions.delete(s.id);
        s.send({ type: 'ended', reason: '' });
        return [204, undefined];
      case 'PUT language':
        s.language = body.language ?? s.language;
        return [200, s.tell()];
      case 'GET lab':
        return whole(s.model);
      case 'GET topology':
        return [200, s.world.snapshot()];
      case 'GET terminals':
        return [200, s.terminals.list()];
      case 'DELETE terminals':
        s.terminals.close(body.terminal ?? '');
        return [204, undefined];
      case 'POST reset':
        s.reset(body.step);
        return [200, s.tell()];
      case 'GET steps':
        return [200, { changes: s.changes.get(step ?? '') ?? null }];
      case 'POST steps':
        if (act === 'hint') return [200, s.tell()];
        if (act === 'predict') {
          const progress = s.steps.find((one) => one.id === step);
          if (progress) progress.prediction = { choice: body.choice ?? '' };
          return [200, s.tell()];
        } else {
          const probes = s.apply(step ?? '');
          return [200, { ...s.tell(), ...revision(), probes }];
        }
      case 'POST ops':
        s.do(body.node ?? '', body.command ?? '');
        return [200, { ...s.tell(), ...revision(), command: body.command }];
      case 'POST exec':
        return [200, { exit_code: 1, stdout: '', stderr: 'This is a toy: there is no shell behind it.\n' }];
      case 'POST probes':
        return [200, s.probe(body as unknown as Probe)];
    }
    throw new Problem(405, 'method-not-allowed', 'Method Not Allowed');
  }

  async function serve(req: IncomingMessage, res: ServerResponse): Promise<void> {
    const url = new URL(req.url ?? '', 'http://mock');
    const path = url.pathname.replace('/api/v1/', '').split('/').map(decodeURIComponent);
    const chunks: Buffer[] = [];
    for await (const c of req) chunks.push(c as Buffer);
    const text = Buffer.concat(chunks).toString();
    try {
      const [status, body] = answer(
        req.method ?? 'GET',
        path,
        text ? (JSON.parse(text) as Record<string, string>) : Object.fromEntries(url.searchParams),
      );
      res
        .writeHead(status, { 'Content-Type': 'application/json' })
        .end(body === undefined ? '' : JSON.stringify(body));
    } catch (e) {
      if (!(e instanceof Problem)) throw e;
      res.writeHead(e.status, { 'Content-Type': 'application/problem+json' }).end(JSON.stringify(e.more));
    }
  }

  function attach(server: ViteDevServer | PreviewServer): void {
    server.middlewares.use((req, res, next) => {
      if (req.url?.startsWith('/api/')) void serve(req, res);
      else next();
    });
    const sockets = new WebSocketServer({ noServer: true });
    server.httpServer?.on('upgrade', (req, socket, head) => {
      const url = new URL(req.url ?? '', 'http://mock');
      const [, shown] = /^\/api\/v1\/demo\/(stream|packets)$/.exec(url.pathname) ?? [];
      if (shown) {
        sockets.handleUpgrade(req, socket, head, (viewer) => demo.attach(viewer, shown === 'packets'));
        return;
      }
      const [, id, node] =
        /^\/api\/v1\/sessions\/([^/]+)\/(?:stream|terminals\/([^/]+))$/.exec(url.pathname) ?? [];
      if (!id) return;
      const s = sessions.get(id);
      if (!s) {
        socket.end('HTTP/1.1 404 Not Found\r\n\r\n');
        return;
      }
      sockets.handleUpgrade(req, socket, head, (viewer) => {
        if (node) return s.terminals.attach(viewer, decodeURIComponent(node), url.searchParams);
        s.viewers.add(viewer);
        viewer.on('close', () => s.viewers.delete(viewer));
        const first: StreamMessage[] = [
          { type: 'session', session: s.tell() },
          { type: 'snapshot', snapshot: s.world.snapshot() },
        ];
        for (const m of first) viewer.send(JSON.stringify(m));
      });
    });
  }

  return { name: 'kabel-mock', configureServer: attach, configurePreviewServer: attach };
}
