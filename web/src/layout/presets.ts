import { split, stack, type Layout, type Least } from './tree';

export const presets = ['learner', 'projector', 'terminals'] as const;
export type Preset = (typeof presets)[number];

const tools = stack('terminal', 'probe', 'command', 'inspect');

export const homes: Record<Preset, Layout> = {
  // The packets have their place beside the terminals, and are captured from when they are asked for.
  learner: {
    tree: split(
      'row',
      [0.28, stack('lesson')],
      [
        0.72,
        split(
          'column',
          [0.56, stack('topology')],
          [0.44, split('row', [0.46, tools], [0.54, stack('packets')])],
        ),
      ],
    ),
    hidden: ['packets'],
  },
  projector: {
    tree: split(
      'row',
      [0.66, split('column', [0.58, stack('topology')], [0.42, stack('packets')])],
      [0.34, split('column', [0.5, stack('lesson')], [0.5, tools])],
    ),
    hidden: [],
  },
  terminals: {
    tree: split(
      'row',
      [0.32, split('column', [0.55, stack('lesson')], [0.45, stack('topology')])],
      [0.68, split('column', [0.66, tools], [0.34, stack('packets')])],
    ),
    hidden: ['packets'],
  },
};

/** Below this width the panes are shown one by one. */
export const narrow = 720;

const leasts: Record<string, { width: number; height: number }> = {
  lesson: { width: 270, height: 160 },
  topology: { width: 280, height: 190 },
  packets: { width: 320, height: 190 },
};
export const least: Least = (pane) => leasts[pane] ?? { width: 280, height: 140 };

/** How much larger all is drawn on a screen of this size: letters of a 4K screen would be too small to read. */
export function screenScale(width: number, height: number): number {
  const by = Math.min((width - 1920) / 1920, (height - 1080) / 1080);
  return 1 + 0.6 * Math.min(1, Math.max(0, by));
}

export const presetScale: Record<Preset, number> = { learner: 1, projector: 1.3, terminals: 1 };
