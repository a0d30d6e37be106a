import { mount } from 'svelte';
import './app.css';
import { httpApi } from './api';
import { speech } from './i18n/index.svelte';
import App from './shell/App.svelte';
import { Stream } from './socket';
import { Store } from './store.svelte';
import { look } from './theme.svelte';

look.begin();
await speech.begin();
const store = new Store(httpApi(), (url, events, alive) => new Stream(url, events, alive));
mount(App, { target: document.body, props: { store } });
