// The picture as a file of its own: an SVG that needs nothing of the page, or a PNG.

/** What of the page's style sheet a shape needs to look the same elsewhere. */
const painted = [
  'fill',
  'fill-opacity',
  'stroke',
  'stroke-width',
  'stroke-dasharray',
  'stroke-linecap',
  'stroke-linejoin',
  'opacity',
  'font-family',
  'font-size',
  'font-weight',
  'font-style',
  'letter-spacing',
  'text-anchor',
] as const;

/** What one does with the picture, and what moves in it, is no part of it. */
const left = '.reach, .hit, .glow, .chosen, .ring, .place, .traffic, .ground, .hands, defs, title';

/** The picture as it is now drawn, whole, with its colours resolved and its fonts inside. */
export async function standAlone(
  svg: SVGSVGElement,
  size: { width: number; height: number },
): Promise<string> {
  const world = svg.querySelector(':scope > g');
  const copy = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const page = getComputedStyle(svg);
  copy.setAttribute('xmlns', 'http://www.w3.org/2000/svg');
  copy.setAttribute('viewBox', `0 0 ${size.width} ${size.height}`);
  copy.setAttribute('width', String(size.width));
  copy.setAttribute('height', String(size.height));
  copy.setAttribute('role', 'img');
  copy.setAttribute('aria-label', svg.getAttribute('aria-label') ?? '');
  const ground = document.createElementNS('http://www.w3.org/2000/svg', 'rect');
  ground.setAttribute('width', '100%');
  ground.setAttribute('height', '100%');
  ground.setAttribute('fill', getComputedStyle(document.body).backgroundColor || page.backgroundColor);
  const style = document.createElementNS('http://www.w3.org/2000/svg', 'style');
  style.textContent = await fontsFor(world?.textContent ?? '');
  copy.append(style, ground);
  if (world) {
    const cloned = plain(world);
    cloned.removeAttribute('transform');
    copy.append(cloned);
  }
  return new XMLSerializer().serializeToString(copy);
}

/** A copy of an element whose look is written in its attributes. */
function plain(from: Element): Element {
  const to = document.createElementNS(from.namespaceURI, from.localName);
  for (const { name, value } of from.attributes) if (drawing.has(name)) to.setAttribute(name, value);
  const style = getComputedStyle(from);
  for (const key of painted) {
    const value = style.getPropertyValue(key);
    if (value && value !== inherited(from, key)) to.setAttribute(key, value);
  }
  for (const child of from.childNodes) {
    if (child instanceof Text) to.append(child.data.trim() ? child.data.trim() : '');
    else if (child instanceof Element && !child.matches(left)) to.append(plain(child));
  }
  return to;
}

const drawing = new Set(
  'd x y x1 y1 x2 y2 width height rx ry r cx cy transform viewBox points overflow'.split(' '),
);

/** The value that the copy has from its parent anyway. */
function inherited(of: Element, key: string): string {
  if (key === 'opacity') return '1';
  const parent = of.parentElement;
  return parent && parent.localName !== 'svg' ? getComputedStyle(parent).getPropertyValue(key) : '';
}

/** The picture as PNG, twice as large as it is drawn. */
export async function toPng(svg: string, size: { width: number; height: number }): Promise<Blob> {
  const scale = Math.min(2, 16000 / Math.max(size.width, size.height));
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
  await image.decode();
  const canvas = document.createElement('canvas');
  canvas.width = Math.round(size.width * scale);
  canvas.height = Math.round(size.height * scale);
  canvas.getContext('2d')?.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done, fail) =>
    canvas.toBlob((blob) => (blob ? done(blob) : fail(new Error('no picture'))), 'image/png'),
  );
}

/** The page's own font faces that a text needs, with their files inside. */
async function fontsFor(text: string): Promise<string> {
  const codes = [...new Set(text)].map((c) => c.codePointAt(0) ?? 0);
  const faces = [...document.styleSheets]
    .flatMap((sheet) => [...sheet.cssRules])
    .filter((rule) => rule instanceof CSSFontFaceRule)
    .filter((rule) => {
      const ranges = rangesOf(rule.style.getPropertyValue('unicode-range'));
      return codes.some((code) => ranges.some(([from, to]) => from <= code && code <= to));
    });
  const embedded = await Promise.all(
    faces.map(async (rule) => {
      const source = rule.style.getPropertyValue('src');
      const file = /url\("?([^")]+)"?\)/.exec(source)?.[1];
      if (!file) return rule.cssText;
      const base = rule.parentStyleSheet?.href ?? document.baseURI;
      const answer = await fetch(new URL(file, base));
      if (!answer.ok) return ''; // the reader's own fonts serve, too
      return rule.cssText.replace(file, await dataUrl(await answer.blob()));
    }),
  );
  return embedded.join('\n');
}

/** The ranges of "U+0-FF, U+131". */
export function rangesOf(text: string): [number, number][] {
  if (!text) return [[0, 0x10ffff]];
  return [...text.matchAll(/U\+([0-9A-F]+)(?:-([0-9A-F]+))?/gi)].map(([, from, to]) => [
    parseInt(from ?? '', 16),
    parseInt(to ?? from ?? '', 16),
  ]);
}

const dataUrl = (blob: Blob): Promise<string> =>
  new Promise((done, fail) => {
    const reader = new FileReader();
    reader.onload = () => done(String(reader.result));
    reader.onerror = () => fail(new Error('the font could not be read'));
    reader.readAsDataURL(blob);
  });
