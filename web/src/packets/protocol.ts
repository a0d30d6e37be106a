import type { LinkId, NodeId } from '../wire';

// The types of the packets' websocket, as the server writes them.

/** `unsure`: not seen again, but the capture itself lost packets meanwhile. */
export type JourneyState = 'in-flight' | 'delivered' | 'answered' | 'gone' | 'unsure';

/** What a packet had changed when it was seen again. */
export interface Change {
  field: string;
  from: string;
  to: string;
}

/** One packet as one interface saw it. */
export interface Sighting {
  no: number;
  node: NodeId;
  link: string;
  out: boolean;
  /** µs since the capture began. */
  at: number;
  length: number;
  /** The number of the sighting before on its path; none where a path begins. */
  after?: number;
  changes?: Change[];
}

/** One packet on its way: everything that is known of it, in each update anew. */
export interface Row {
  id: number;
  /** µs since the capture began. */
  at: number;
  protocol: string;
  source: string;
  destination: string;
  info: string;
  length: number;
  state: JourneyState;
  /** The journeys that this one answers, and that answers it. */
  answers?: number;
  answered_by?: number;
  /** It has turned out to be part of this earlier one, which has its sightings now. */
  into?: number;
  sightings: Sighting[];
}

/** Packets lost since the capture began, by who lost them. */
export interface Lost {
  kernel: number;
  host: number;
  hub: number;
  viewer: number;
}

export interface FilterError {
  /** In bytes. */
  position: number;
  message: string;
  /** What may have been meant in place of the word there. */
  suggestion?: string;
}

export type ServerMessage =
  | { type: 'start'; started: string; filter: string; snap: number; resumed: boolean }
  | { type: 'batch'; seq: number; rows: Row[]; lost: Lost; gap?: number }
  | ({ type: 'filter-error' } & FilterError)
  | { type: 'paused' }
  | { type: 'ended'; reason: string };

export type ClientMessage = { type: 'filter'; filter: string } | { type: 'pause' } | { type: 'resume' };

export interface Field {
  name: string;
  value: string;
  offset: number;
  length: number;
  bits?: string;
}

export interface Layer {
  name: string;
  summary: string;
  offset: number;
  length: number;
  fields: Field[];
}

/** One kept packet with its bytes. */
export interface Packet {
  no: number;
  node: NodeId;
  link: string;
  out: boolean;
  at: number;
  /** On the wire; `data` may hold only the first of them. */
  length: number;
  data: string; // base64
  layers: Layer[];
}

const pathOf = (session: string): string => `/api/v1/sessions/${encodeURIComponent(session)}/packets`;

/** Where the rows come from, those after `seq` if that is given. */
export function socketUrl(session: string, filter: string, seq: number | null): string {
  const url = new URL(pathOf(session), location.href.replace(/^http/, 'ws'));
  if (filter) url.searchParams.set('filter', filter);
  if (seq !== null) url.searchParams.set('after', String(seq));
  return url.href;
}

/** A pcapng file of the packets that the server keeps, those that the filter lets through. */
export const keptUrl = (session: string, filter: string): string =>
  `/api/v1/sessions/${encodeURIComponent(session)}/capture.pcapng?${String(new URLSearchParams({ kept: 'true', filter }))}`;

/** One packet; 'dropped' if it is not kept any more, null if nobody answers. */
export async function readPacket(
  session: string,
  no: number,
  signal: AbortSignal,
): Promise<Packet | 'dropped' | null> {
  try {
    const answer = await fetch(`${pathOf(session)}/${String(no)}`, { credentials: 'same-origin', signal });
    if (answer.ok) return (await answer.json()) as Packet;
    return answer.status === 404 ? 'dropped' : null;
  } catch {
    return null;
  }
}

export function parse(data: unknown): ServerMessage | null {
  if (typeof data !== 'string') return null;
  try {
    const m: unknown = JSON.parse(data);
    return typeof m === 'object' && m !== null && 'type' in m ? (m as ServerMessage) : null;
  } catch {
    return null;
  }
}

export const placeOf = (s: { node: NodeId; link: string }): LinkId => `${s.node}:${s.link}`;
