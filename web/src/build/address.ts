// IP addresses as the kernel reads them: numbers with a length in bits.

export interface Address {
  family: 4 | 6;
  value: bigint;
}

/** An address and how many of its first bits name its network: "172.16.0.2/24". */
export interface Prefix extends Address {
  bits: number;
}

export const width = (family: 4 | 6): number => (family === 4 ? 32 : 128);

/** Reads "10.0.0.1" or "fd00::1"; null where it is neither. */
export function parseAddress(text: string): Address | null {
  const value = text.includes(':') ? parse6(text) : parse4(text);
  return value === null ? null : { family: text.includes(':') ? 6 : 4, value };
}

function parse4(text: string): bigint | null {
  const parts = text.split('.');
  if (parts.length !== 4) return null;
  let value = 0n;
  for (const p of parts) {
    // A leading zero means octal to some, so nobody's parser takes it.
    if (!/^(0|[1-9]\d{0,2})$/.test(p) || Number(p) > 255) return null;
    value = (value << 8n) | BigInt(p);
  }
  return value;
}

function parse6(text: string): bigint | null {
  const halves = text.split('::');
  if (halves.length > 2) return null;
  const groups = (half: string): string[] | null => {
    if (half === '') return [];
    const parts = half.split(':');
    const last = parts.at(-1) ?? '';
    if (last.includes('.')) {
      const v4 = parse4(last);
      if (v4 === null) return null;
      parts.splice(-1, 1, (v4 >> 16n).toString(16), (v4 & 0xffffn).toString(16));
    }
    return parts.every((p) => /^[0-9a-f]{1,4}$/i.test(p)) ? parts : null;
  };
  const [head, tail] = [groups(halves[0] ?? ''), groups(halves[1] ?? '')];
  if (!head || !tail) return null;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return null;
  const all = [...head, ...Array.from({ length: missing }, () => '0'), ...tail];
  return all.reduce((sum, g) => (sum << 16n) | BigInt(`0x${g}`), 0n);
}

/** Reads "172.16.0.2/24"; without a length it is one host. */
export function parsePrefix(text: string): Prefix | null {
  const [ip = '', length, ...more] = text.split('/');
  const address = parseAddress(ip);
  if (!address || more.length > 0) return null;
  const most = width(address.family);
  if (length === undefined) return { ...address, bits: most };
  if (!/^(0|[1-9]\d{0,2})$/.test(length) || Number(length) > most) return null;
  return { ...address, bits: Number(length) };
}

/** As the kernel writes it: IPv6 with its longest run of zeros as "::". */
export function showAddress({ family, value }: Address): string {
  if (family === 4) return [24n, 16n, 8n, 0n].map((by) => (value >> by) & 255n).join('.');
  const groups = Array.from({ length: 8 }, (_, i) => (value >> BigInt(112 - 16 * i)) & 0xffffn);
  let run = { at: -1, length: 1 };
  for (let at = 0; at < 8; at++) {
    let length = 0;
    while (at + length < 8 && groups[at + length] === 0n) length++;
    if (length > run.length) run = { at, length };
  }
  const hex = (part: bigint[]): string => part.map((g) => g.toString(16)).join(':');
  if (run.at < 0) return hex(groups);
  return `${hex(groups.slice(0, run.at))}::${hex(groups.slice(run.at + run.length))}`;
}

export const showPrefix = (p: Prefix): string => `${showAddress(p)}/${p.bits}`;

const hostMask = (p: Prefix): bigint => (1n << BigInt(width(p.family) - p.bits)) - 1n;

/** The network that an address with a length is in. */
export const networkOf = (p: Prefix): Prefix => ({ ...p, value: p.value & ~hostMask(p) });

export const inside = (a: Address, p: Prefix): boolean =>
  a.family === p.family && (a.value & ~hostMask(p)) === networkOf(p).value;

export const sameAddress = (a: Address, b: Address): boolean => a.family === b.family && a.value === b.value;

/** Whether the address names the network itself or everybody in it, and so can't be a machine's. */
export function spokenFor(p: Prefix): 'network' | 'broadcast' | null {
  if (p.family !== 4 || p.bits > 30) return null;
  const rest = p.value & hostMask(p);
  return rest === 0n ? 'network' : rest === hostMask(p) ? 'broadcast' : null;
}

/** The lowest address of the network that nobody in `taken` has; null where it is full. */
export function nextFree(network: Prefix, taken: Address[]): Prefix | null {
  const base = networkOf(network).value;
  const used = new Set(taken.filter((a) => inside(a, network)).map((a) => a.value));
  for (let i = 1n; i <= hostMask(network); i++) {
    const one = { ...network, value: base + i };
    if (spokenFor(one)) return null;
    if (!used.has(one.value)) return one;
  }
  return null;
}
