// A picture as small as it may be: of so few shades that each pixel is one byte.
import { crc32, deflateSync } from 'node:zlib';

interface Picture {
  width: number;
  height: number;
  data: Uint8Array; // RGBA
}

const most = 256; // colours

/** A PNG of the picture with the most bits per channel that come out at few enough colours. */
export function palettePng(p: Picture): Buffer {
  for (let bits = 5; bits > 0; bits--) {
    const found = shades(p, bits);
    if (found) return png(p, found.colours, found.lines);
  }
  throw new Error('eight colours were too many');
}

function shades({ width, height, data }: Picture, bits: number): { colours: number[]; lines: Buffer } | null {
  const steps = 2 ** bits - 1;
  const shade = (v: number): number => Math.round((Math.round((v / 255) * steps) / steps) * 255);
  const table = Uint8Array.from({ length: 256 }, (_, v) => shade(v));
  const known = new Map<number, number>();
  const lines = Buffer.alloc(height * (width + 1)); // each begins with its filter, which is none
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const i = (y * width + x) * 4;
      const [r, g, b] = [0, 1, 2].map((c) => table[data[i + c] ?? 0] ?? 0) as [number, number, number];
      const colour = (r << 16) | (g << 8) | b;
      let n = known.get(colour);
      if (n === undefined) {
        if (known.size === most) return null;
        known.set(colour, (n = known.size));
      }
      lines[y * (width + 1) + 1 + x] = n;
    }
  }
  return { colours: [...known.keys()], lines };
}

function png({ width, height }: Picture, colours: number[], lines: Buffer): Buffer {
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 3], 8); // bits of an index; it is one into a palette
  const palette = Buffer.from(colours.flatMap((c) => [c >> 16, (c >> 8) & 255, c & 255]));
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk('IHDR', header),
    chunk('PLTE', palette),
    chunk('IDAT', deflateSync(lines, { level: 9 })),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

function chunk(name: string, data: Buffer): Buffer {
  const body = Buffer.concat([Buffer.from(name, 'latin1'), data]);
  const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, sum]);
}
