// Every odd world in one page, for the eye: /mock/gallery.html in `npm run mock`.
import { mount } from 'svelte';
import '../src/app.css';
import { httpApi } from '../src/api';
import { Store } from '../src/store.svelte';
import Gallery from './Gallery.svelte';
import { scenes } from './scenes';

const silent = { resync: () => undefined, present: () => undefined, close: () => undefined };
const pictures = scenes
  .slice(-Number(new URLSearchParams(location.search).get('last') ?? 21))
  .map(([name, snapshot]) => {
    const store = new Store(httpApi(), () => silent);
    store.snapshot = snapshot;
    store.connection = 'live';
    return { name, store };
  });
mount(Gallery, { target: document.body, props: { pictures } });
