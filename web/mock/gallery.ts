// Every component in every state, for review: /mock/gallery.html in `npm run
// mock`. ?section=…&theme=…&language=… links one of its pages. Some are the
// whole page, home and in labs, as it is with this data.
import { mount, type Component } from 'svelte';
import '../src/app.css';
import { isLanguage, speech } from '../src/i18n/index.svelte';
import App from '../src/shell/App.svelte';
import { look, themes } from '../src/theme.svelte';
import Gallery from './gallery/Gallery.svelte';
import * as samples from './samples';
import { standStill, storeOf } from './still';

const sections: Record<string, () => Promise<{ default: Component }>> = {
  controls: () => import('./gallery/Controls.svelte'),
  notices: () => import('./gallery/Notices.svelte'),
  home: () => import('./gallery/Stations.svelte'),
  lesson: () => import('./gallery/Lessons.svelte'),
  menus: () => import('./gallery/Menus.svelte'),
  tools: () => import('./gallery/Tools.svelte'),
  inspector: () => import('./gallery/Inspectors.svelte'),
  packets: () => import('./gallery/Packets.svelte'),
  terminals: () => import('./gallery/Shells.svelte'),
  worlds: () => import('./gallery/Worlds.svelte'),
};
const pages: Record<string, string> = {
  'page-home': '#/',
  'page-lab': `#/lab/${samples.lab.id}/lab`,
  'page-busy': `#/lab/${samples.lab.id}/flood`,
};

const asked = new URLSearchParams(location.search);
const chosen = {
  section: asked.get('section') ?? 'controls',
  theme: asked.get('theme') ?? 'system',
  language: asked.get('language') ?? 'en',
};

standStill();
look.begin();
look.choose(themes.find((t) => t === chosen.theme) ?? 'system');
if (isLanguage(chosen.language)) await speech.choose(chosen.language);

const page = pages[chosen.section];
const target = document.body;
if (page !== undefined) {
  if (!location.hash) location.hash = page;
  const session = samples.sessionOf(samples.lab, 3, chosen.section === 'page-busy' ? { id: 'flood' } : {});
  const { lab, labs, progress } = samples;
  const snapshot = chosen.section === 'page-busy' ? samples.crowded : samples.world;
  mount(App, { target, props: { store: storeOf({}, { lab, labs, progress, session, snapshot }) } });
} else {
  const load = sections[chosen.section] ?? sections.controls;
  const { default: Section } = (await load?.()) ?? {};
  const names = [...Object.keys(sections), ...Object.keys(pages)];
  if (Section) mount(Gallery, { target, props: { sections: names, chosen, Section } });
}
