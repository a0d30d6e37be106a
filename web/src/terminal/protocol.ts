import type { NodeId } from '../wire';

/** What the server says of a terminal, besides its bytes. */
export type ServerMessage =
  | { type: 'terminal'; id: string; node: NodeId; rows: number; cols: number; replay?: number }
  | { type: 'size'; rows: number; cols: number }
  | { type: 'exit'; code: number }
  | { type: 'ended'; reason?: string };

export type ClientMessage = { type: 'size'; rows: number; cols: number } | { type: 'ack'; bytes: number };

export interface Size {
  rows: number;
  cols: number;
}

export interface Listed {
  id: string;
  node: NodeId;
}

/** The most bytes that the server sends ahead of what is drawn. */
export const ahead = 128 << 10;

const pathOf = (session: string, ...rest: string[]): string =>
  ['/api/v1/sessions', session, 'terminals', ...rest]
    .map((p, i) => (i === 0 ? p : encodeURIComponent(p)))
    .join('/');

/** Where a terminal is attached to, or, without an id, a new one is started. */
export function socketUrl(session: string, node: NodeId, id: string | undefined, size: Size | null): string {
  const url = new URL(pathOf(session, node), location.href.replace(/^http/, 'ws'));
  url.searchParams.set('window', String(ahead));
  if (id !== undefined) url.searchParams.set('terminal', id);
  if (size) {
    url.searchParams.set('rows', String(size.rows));
    url.searchParams.set('cols', String(size.cols));
  }
  return url.href;
}

/** The session's terminals; 'gone' if there is no such session, null if nobody answers. */
export async function list(session: string): Promise<Listed[] | 'gone' | null> {
  try {
    const answer = await fetch(pathOf(session), { credentials: 'same-origin' });
    if (answer.ok) return ((await answer.json()) as Listed[] | null) ?? [];
    return [401, 403, 404, 410].includes(answer.status) ? 'gone' : null;
  } catch {
    return null;
  }
}

/**
 * Why a new terminal was refused: a page is not told why its websocket was, but
 * the same request without one is answered alike. It is not refused now: true.
 */
export async function refusal(
  socket: string,
  language: string,
): Promise<{ code: string; detail?: string } | true | null> {
  try {
    const answer = await fetch(socket.replace(/^ws/, 'http'), {
      headers: { 'Accept-Language': language },
      credentials: 'same-origin',
    });
    if (answer.status === 426) return true;
    if (answer.status >= 500) return null;
    const said = (await answer.json()) as { code?: string; detail?: string };
    return said.code === undefined ? null : { ...said, code: said.code };
  } catch {
    return null;
  }
}

/** Ends the shell. Where that fails there is none any more, or the session's end will end it. */
export async function end(session: string, node: NodeId, id: string): Promise<void> {
  const url = `${pathOf(session, node)}?terminal=${encodeURIComponent(id)}`;
  await fetch(url, { method: 'DELETE', credentials: 'same-origin' }).catch(() => undefined);
}

export function parse(text: string): ServerMessage | null {
  try {
    const m: unknown = JSON.parse(text);
    return typeof m === 'object' && m !== null && 'type' in m ? (m as ServerMessage) : null;
  } catch {
    return null;
  }
}
