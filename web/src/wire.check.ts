// Holds the page's own types against those that openapi.d.ts has from the server. Nothing here runs: where the two
// have drifted apart, this file does not compile. `make wire` writes openapi.d.ts anew.

import type { components } from './openapi';
import type * as packets from './packets/protocol';
import type * as terminal from './terminal/protocol';
import type * as wire from './wire';

type Server = components['schemas'];

/** Every field there, also those that may be left out. */
type Whole<T> = T extends readonly (infer U)[]
  ? Whole<U>[]
  : T extends object
    ? { [K in keyof T]-?: Whole<T[K]> }
    : T;

type KeysOf<T> = T extends object ? keyof T : never;
/** Whether who expects B can be given A, and B has no field that A never has; otherwise what is wrong. */
type Fits<A, B> = [A] extends [B]
  ? [Whole<A>] extends [Whole<B>]
    ? true
    : { missing: Exclude<KeysOf<B>, KeysOf<A>> }
  : { given: A; expected: B };

/** An answer of which the page reads all, or some. */
type Reads<Ours, Theirs> = Fits<Theirs, Ours>;
/** A request that says all that it may, or some. */
type Asks<Ours, Theirs> = [Ours] extends [Theirs]
  ? [KeysOf<Ours>] extends [KeysOf<Theirs>]
    ? true
    : { unknown: Exclude<KeysOf<Ours>, KeysOf<Theirs>> }
  : { given: Ours; expected: Theirs };
/** The page's type and the server's are the same. */
type Same<Ours, Theirs> = Fits<Theirs, Ours> extends true ? Fits<Ours, Theirs> : Fits<Theirs, Ours>;

type Hold<T extends Record<keyof T, true>> = T;

export type World = Hold<{
  Snapshot: Same<wire.Snapshot, Server['Snapshot']>;
  LimitHit: Same<wire.LimitHit, Server['LimitHit']>;
  Node: Same<wire.Node, Server['Node']>;
  Netdev: Same<wire.Netdev, Server['Netdev']>;
  Bridge: Same<NonNullable<wire.Netdev['bridge']>, Server['Bridge']>;
  VXLAN: Same<wire.Vxlan, Server['VXLAN']>;
  Tunnel: Same<wire.Tunnel, Server['Tunnel']>;
  Route: Same<wire.Route, Server['Route']>;
  Rule: Same<wire.Rule, Server['Rule']>;
  Neighbour: Same<wire.Neighbour, Server['Neighbour']>;
  FDBEntry: Same<wire.FdbEntry, Server['FDBEntry']>;
  Chain: Same<wire.Chain, Server['Chain']>;
  FirewallRule: Same<wire.FirewallRule, Server['FirewallRule']>;
  Socket: Same<wire.Socket, Server['Socket']>;
  Diff: Same<wire.Diff, Server['Diff']>;
  NodeChange: Same<wire.NodeChange, Server['NodeChange']>;
  Probe: Same<wire.Probe, Server['Probe']>;
  ProbeResult: Same<wire.ProbeResult, Server['ProbeResult']>;
  Probed: Reads<wire.ProbeResult, Server['Probed']>;
  Executed: Same<wire.ExecResult, Server['Executed']>;
}>;

export type Lessons = Hold<{
  Lab: Same<wire.Lab, Server['Lab']>;
  Catalogue: Same<wire.Catalogue, Server['Catalogue']>;
  LeftOut: Same<wire.LeftOut, Server['LeftOut']>;
  LabSummary: Reads<wire.LabSummary, Server['Lab']>;
  LabVariant: Same<wire.LabSummary['variants'][number], Server['LabVariant']>;
  LabStep: Same<wire.Step, Server['LabStep']>;
  LabProbe: Same<wire.StepProbe, Server['LabProbe']>;
  LabCommand: Same<wire.Command, Server['LabCommand']>;
  PredictShown: Same<NonNullable<wire.Step['predict']>, Server['PredictShown']>;
  PredictOption: Same<NonNullable<wire.Step['predict']>['options'][number], Server['PredictOption']>;
  Term: Same<wire.Term, Server['Term']>;
  Progress: Same<wire.Progress, Server['Progress']>;
  LabProgress: Same<wire.LabProgress, Server['LabProgress']>;
  StepProgress: Same<wire.StepRecord, Server['StepProgress']>;
}>;

export type Sessions = Hold<{
  View: Same<wire.Session, Server['View']>;
  Created: Reads<wire.Session, Server['Created']>;
  StepView: Same<wire.StepProgress, Server['StepView']>;
  Prediction: Same<NonNullable<wire.StepProgress['prediction']>, Server['Prediction']>;
  Ends: Same<NonNullable<wire.Session['ends']>, Server['Ends']>;
  Acted: Same<wire.Applied, Server['Acted']>;
  Done: Reads<wire.OpDone, Server['Done']>;
  Changed: Same<{ changes: wire.StepChanges | null }, Server['Changed']>;
  Changes: Same<wire.StepChanges, Server['Changes']>;
  // The page has problems of its own, too.
  ErrorModel: Reads<wire.Problem, Server['ErrorModel']>;
}>;

export type Asked = Hold<{
  CreateInputBody: Same<wire.NewSession, Server['CreateInputBody']>;
  Free: Same<wire.FreeWorld, Server['Free']>;
  ResetInputBody: Same<wire.ResetTo, Server['ResetInputBody']>;
  LanguageInputBody: Same<wire.Spoken, Server['LanguageInputBody']>;
  PredictInputBody: Same<wire.Predicted, Server['PredictInputBody']>;
  OpInputBody: Same<wire.Command, Server['OpInputBody']>;
  ExecInputBody: Asks<wire.Exec, Server['ExecInputBody']>;
  ProbeInputBody: Same<wire.Probe, Server['ProbeInputBody']>;
}>;

export type Sockets = Hold<{
  StreamMessage: Same<wire.StreamMessage, Server['StreamMessage']>;
  StreamRequest: Same<wire.StreamRequest, Server['StreamRequest']>;
  TerminalMessage: Same<terminal.ServerMessage, Server['TerminalMessage']>;
  TerminalRequest: Same<terminal.ClientMessage, Server['TerminalRequest']>;
  TerminalInfo: Reads<terminal.Listed, Server['TerminalInfo']>;
  PacketsMessage: Same<packets.ServerMessage, Server['PacketsMessage']>;
  Started: Same<Extract<packets.ServerMessage, { type: 'start' }>, Server['Started']>;
  Batch: Same<Extract<packets.ServerMessage, { type: 'batch' }>, Server['Batch']>;
  FilterError: Reads<packets.FilterError, Server['FilterError']>;
  Paused: Same<Extract<packets.ServerMessage, { type: 'paused' }>, Server['Paused']>;
  Ended: Same<Extract<packets.ServerMessage, { type: 'ended' }>, Server['Ended']>;
  PacketsRequest: Same<packets.ClientMessage, Server['PacketsRequest']>;
  Row: Same<packets.Row, Server['Row']>;
  Sighting: Same<packets.Sighting, Server['Sighting']>;
  Change: Same<packets.Change, Server['Change']>;
  Lost: Same<packets.Lost, Server['Lost']>;
  Packet: Reads<packets.Packet, Server['Packet']>;
  PacketLayer: Same<packets.Layer, Server['PacketLayer']>;
  PacketField: Same<packets.Field, Server['PacketField']>;
}>;

/** Where the request was wrong, place by place: the page makes none that is. */
type Unread = 'ErrorDetail';
type Held = keyof World | keyof Lessons | keyof Sessions | keyof Asked | keyof Sockets;
/** All that the server describes is held against something. */
export type All = Hold<{
  forgotten: [Exclude<keyof Server, Held | Unread>] extends [never]
    ? true
    : Exclude<keyof Server, Held | Unread>;
}>;
