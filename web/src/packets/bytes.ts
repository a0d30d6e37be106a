import type { Layer } from './protocol';

/** A stretch of a packet's bytes. */
export interface Range {
  offset: number;
  length: number;
}

/** One line of the layer tree: a layer, or a field of one. */
export interface TreeLine extends Range {
  layer: number;
  field: number | null;
  name: string;
  value: string;
  bits?: string;
}

export function treeOf(layers: Layer[]): TreeLine[] {
  return layers.flatMap((l, layer) => [
    { layer, field: null, name: l.name, value: l.summary, offset: l.offset, length: l.length },
    ...(l.fields ?? []).map((f, field) => ({ layer, field, ...f })),
  ]);
}

export const covers = (r: Range, byte: number): boolean => r.offset <= byte && byte < r.offset + r.length;

/** The line that a byte stands for: the shortest field that has it, else the innermost layer. */
export function lineAt(lines: TreeLine[], byte: number): TreeLine | undefined {
  const found = lines.filter((l) => covers(l, byte));
  const rank = (l: TreeLine): number => (l.field === null ? 1e9 : 0) + l.length;
  return found.reduce<TreeLine | undefined>(
    (best, l) => (best && rank(best) <= rank(l) ? best : l),
    undefined,
  );
}

export function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

export const hex = (byte: number): string => byte.toString(16).padStart(2, '0');
export const printed = (byte: number): string =>
  byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '·';

/** Offsets of lines of so many bytes. */
export const offsets = (length: number, width: number): number[] =>
  Array.from({ length: Math.ceil(length / width) }, (_, i) => i * width);
