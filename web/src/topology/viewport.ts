export interface View {
  x: number;
  y: number;
  k: number;
}

const least = 0.15;
const most = 4;

/** The view that shows the whole picture, centred and not larger than it is drawn. */
export function fitted(picture: { width: number; height: number }, width: number, height: number): View {
  if (!picture.width || !picture.height || !width || !height) return { x: 0, y: 0, k: 1 };
  const k = Math.min(width / picture.width, height / picture.height, 1.35);
  return { k, x: (width - picture.width * k) / 2, y: (height - picture.height * k) / 2 };
}

/** Zooms by a factor around a point of the pane. */
export function zoomed(v: View, by: number, x: number, y: number): View {
  const k = Math.min(most, Math.max(least, v.k * by));
  return { k, x: x - ((x - v.x) * k) / v.k, y: y - ((y - v.y) * k) / v.k };
}
