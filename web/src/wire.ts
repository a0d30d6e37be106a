// The types of the HTTP API and of the stream, as the server writes them; wire.check.ts holds them against its own
// description of them. Only the parts of a node are null where there is nothing: other lists are empty or left out.

export type NodeId = string; // "host1", "host1/kon"
export type LinkId = string; // "host1/kon:veth2"
type Section<T> = T[] | null;

export type NodeKind = 'host' | 'switch' | 'router' | 'internet' | 'laptop' | 'netns';

export interface Snapshot {
  revision: number;
  nodes: Section<Node>;
  limits?: LimitHit[];
}

/** A limit that the world has hit; `bound` is in the unit of its kind. */
export interface LimitHit {
  kind: string;
  node?: NodeId;
  subject?: string;
  bound?: number;
  hits: number;
}

export interface Node {
  id: NodeId;
  kind: NodeKind;
  links: Section<Netdev>;
  routes: Section<Route>;
  rules: Section<Rule>;
  neighbours: Section<Neighbour>;
  fdb: Section<FdbEntry>;
  firewall: Section<Chain>;
  sockets: Section<Socket>;
  sysctls: Record<string, string> | null;
  counters: Record<string, number> | null;
}

export interface Netdev {
  name: string;
  index: number;
  kind: string;
  up: boolean;
  carrier: boolean;
  mac: string;
  mtu: number;
  master?: string;
  peer?: LinkId;
  /** The lower device: its name, or its id where it is in another namespace. */
  parent?: string;
  /** Of a macvlan: bridge, private, vepa, passthru, source; of an ipvlan: l2, l3, l3s. */
  mode?: string;
  /** What somebody noted on it: Kabel says there why it set a port down. */
  alias?: string;
  addresses: Section<string>;
  vxlan?: Vxlan;
  tunnel?: Tunnel;
  bridge?: { stp: boolean; vlan_filtering: boolean };
}

export interface Vxlan {
  vni: number;
  local?: string;
  remote?: string;
  port: number;
  learning: boolean;
}

/** Where a tunnel of another kind leads: gre, gretap, ipip, sit, geneve. */
export interface Tunnel {
  local?: string;
  remote?: string;
  /** The key of a gre, the VNI of a geneve. */
  key?: number;
}

export interface Route {
  dst: string;
  type?: string;
  via?: string;
  dev?: string;
  src?: string;
  scope?: string;
  protocol?: string;
  metric?: number;
  table?: number;
  onlink?: boolean;
  down?: boolean;
}

export interface Rule {
  priority: number;
  text: string;
}

export interface Neighbour {
  ip: string;
  mac?: string;
  dev: string;
  state: string;
}

export interface FdbEntry {
  mac: string;
  dev: string;
  master?: string;
  vlan?: number;
  dst?: string;
  state?: string;
}

export interface Chain {
  tool: string;
  family: string;
  table: string;
  name: string;
  policy?: string;
  packets: number;
  bytes: number;
  rules: Section<FirewallRule>;
}

export interface FirewallRule {
  text: string;
  packets: number;
  bytes: number;
}

export interface Socket {
  protocol: string;
  local: string;
  remote?: string;
}

export interface Diff {
  from: number;
  to: number;
  order?: NodeId[];
  changed?: NodeChange[];
  /** All limits that have been hit, where one has been anew. */
  limits?: LimitHit[];
}

/** The sections of one node that differ, each whole; an absent section is as it was. */
export type NodeChange = Pick<Node, 'id'> & { [K in Exclude<keyof Node, 'id'>]?: NonNullable<Node[K]> };

export const probeKinds = ['ping', 'tcp', 'udp', 'http', 'dns', 'traceroute'] as const;
export type ProbeKind = (typeof probeKinds)[number];

export interface Probe {
  from: NodeId;
  kind: ProbeKind;
  to: string;
  count?: number;
  /** Of a ping: bytes of its payload, and that it may not be cut up on its way. */
  size?: number;
  dont_fragment?: boolean;
}

export interface ProbeResult {
  probe: Probe;
  ok: boolean;
  sent: number;
  received: number;
  rtt_ms?: number;
  reason?: string;
  detail?: string[];
  at: string;
}

export interface Command {
  node: NodeId;
  command: string;
}

/** What there is to be known of the labs beside the list of them. */
export interface Catalogue {
  /** Changes when labs were edited. */
  edition: string;
  /** An author previews labs: they may change at any time. */
  draft?: boolean;
  left_out: LeftOut[];
}

/** A lab that could not be loaded; only its author is told why. */
export interface LeftOut {
  id: string;
  mistakes?: string[];
}

export interface LabSummary {
  id: string;
  title: string;
  summary: string;
  track: string;
  minutes: number;
  variants: { id: string; title: string }[];
  steps: StepSummary[];
}

export interface StepSummary {
  id: string;
  title: string;
  commands: Command[];
}

export interface Lab extends Omit<LabSummary, 'steps'> {
  intro?: string; // HTML, sanitised by the server
  language: string;
  steps: Step[];
}

export interface Step extends StepSummary {
  text?: string; // HTML, sanitised by the server
  after?: string; // likewise; what the step has shown
  probes?: StepProbe[];
  predict?: { question: string; options: { id: string; text: string }[] };
}

/** A test of a step, and what a person types for it on the node's machine. */
export interface StepProbe extends Probe {
  command: string;
}

/** The world of a free play, as the learner wants it. */
export interface FreeWorld {
  hosts: number; // 1 to mostHosts
  join: 'switch' | 'router';
  internet?: boolean;
  laptop?: boolean;
}
export const mostHosts = 6;

/** What was done under this browser's cookie. */
export interface Progress {
  labs: LabProgress[];
}

export interface LabProgress {
  lab: string;
  variant: string;
  session: string;
  /** The session can be gone on with. */
  alive: boolean;
  started: string;
  last: string;
  done_at?: string;
  steps: StepRecord[];
  total_steps: number;
}

export interface StepRecord {
  id: string;
  done_at?: string;
  /** While it was the current step and somebody was there. */
  seconds: number;
  attempts: number;
  /** How many different ones were opened. */
  hints: number;
  predicted: '' | 'right' | 'wrong';
}

export type SessionState = 'ready' | 'rebuilding' | 'gone' | 'parked';

export interface Session {
  id: string;
  lab: string;
  variant: string;
  language: string;
  state: SessionState;
  current?: string;
  steps: StepProgress[];
  nodes: NodeId[];
  /** The lab was edited, and would build another world now. */
  stale?: boolean;
  /** Of free play: how many commands are done again when the world is built anew. */
  kept?: number;
  /** The world is about to go by itself, in so many seconds from when this was said. */
  ends?: { at: string; in: number; why: 'idle' | 'total' };
}

export interface StepProgress {
  id: string;
  state: 'todo' | 'done';
  hint?: string;
  prediction?: { choice: string; answer?: string; right?: boolean };
}

/** A word of the trade in the asked language. */
export interface Term {
  id: string;
  name: string;
  english: string;
  text: string;
}

/** The kernel before and after a step: the nodes that differ. */
export interface StepChanges {
  from: Snapshot;
  to: Snapshot;
}

export type Applied = Session & { revision: number; probes: ProbeResult[] };
export type OpDone = Session & { revision: number; command: string };

/** A lab to begin with, or free play. */
export interface NewSession {
  lab?: string;
  variant?: string;
  free?: FreeWorld;
  language?: string;
}

/** The step to go back to; the first unless one is named. */
export interface ResetTo {
  step?: string;
}

export interface Spoken {
  language: string;
}

export interface Predicted {
  choice: string;
}

export interface Exec {
  node: NodeId;
  argv: string[];
}

export interface ExecResult {
  exit_code: number;
  stdout: string;
  stderr: string;
  truncated?: boolean;
  timed_out?: boolean;
}

/** RFC 9457; `command`, `node`, `errno` and `applied` come with an op that failed. */
export interface Problem {
  code: string;
  title: string;
  detail?: string;
  status?: number;
  command?: string;
  node?: NodeId;
  errno?: string;
  applied?: number;
}

export type StreamMessage =
  | { type: 'session'; session: Session }
  | { type: 'snapshot'; snapshot: Snapshot }
  | { type: 'diff'; diff: Diff }
  | { type: 'probe'; result: ProbeResult }
  /** The lab was edited: without mistakes its texts are to be read again. */
  | { type: 'lab'; mistakes?: string[] }
  | { type: 'ended'; reason?: string };

/** Whether the reader is there. */
export interface StreamRequest {
  type: 'here' | 'away';
}
