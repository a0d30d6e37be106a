// The browser of all tests.
import { chromium, type Browser } from 'playwright-core';

const flags =
  '--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync --no-proxy-server';

/** A name that is not this machine's own: to the browser, a page from it is not safe. */
export const classroom = 'classroom.test';

export const launch = (): Promise<Browser> =>
  chromium.launch({
    executablePath: '/usr/bin/chromium',
    args: [...flags.split(' '), `--host-resolver-rules=MAP ${classroom} 127.0.0.1`],
  });
