// Takes the pictures of the demo for the README and the book: node screenshots.mjs [FOLDER]. What differs from one run
// to the next (times, the session's handle) is replaced, so that the same pages make the same pictures. Devices look as if
// they had been in use for some time: their rows are moved into the past, in the database.

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Demo, add, launch, signIn } from './demo.mjs';

const folder = process.argv[2] ?? fileURLToPath(new URL('../docs/src/images', import.meta.url));
const demo = new Demo('sessile-demo.sqlite');
const withProvider = new Demo('sessile-demo.sqlite', ['--idp']);
let browser;

/** A tab with something in the cart. */
async function shopper(options) {
  const page = await browser.newPage({ baseURL: demo.address, javaScriptEnabled: false, ...options });
  for (const product of ['Oak seedling', 'Oak seedling', 'Barnacle mug']) await add(page, product);
  return page;
}

const ELSEWHERE = {
  iPhone: 'Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1',
  Macintosh: 'Mozilla/5.0 (Macintosh; Intel Mac OS X 14.5; rv:127.0) Gecko/20100101 Firefox/127.0',
  Android: 'Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36',
  Windows: 'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36',
};

/** Signs in from other devices too. One of them signs itself out, and another is signed out from the desk. */
async function others(desk) {
  for (const [system, userAgent] of Object.entries(ELSEWHERE)) {
    const page = await browser.newPage({ baseURL: demo.address, javaScriptEnabled: false, userAgent });
    await signIn(page);
    if (system === 'Android') await page.getByRole('button', { name: 'Sign out' }).click();
  }
  await desk.goto('/devices');
  await desk.getByRole('link', { name: 'Sign out: Chrome on Windows' }).click();
  await desk.getByRole('main').getByRole('button', { name: 'Sign out' }).click();
  was('created_at', { iPhone: '-9 days', Macintosh: '-20 hours', Android: '-12 days', Windows: '-3 days' });
  was('last_seen_at', { iPhone: '-4 hours', Macintosh: '-7 minutes' });
  was('logged_out_at', { Android: '-2 days', Windows: '-35 minutes' });
}

/** Moves what the registry says of these systems' devices into the past. */
function was(column, ages) {
  for (const [system, age] of Object.entries(ages)) {
    demo.sql(`UPDATE sessions SET ${column} = strftime('%Y-%m-%d %H:%M:%f', ${column}, '${age}')
      WHERE user_agent LIKE '%${system}%'`);
  }
}

async function take(page, path, name, options) {
  await page.goto('/'); // takes the message of the last form away
  await page.goto(path);
  await page.evaluate(steady);
  await page.screenshot({ path: join(folder, name), ...options });
}

/** In the page: the handle and the times of another day, in every text. */
function steady() {
  const day = 24 * 60 * 60 * 1000;
  const now = Date.now();
  const then = Date.UTC(2026, 0, 15, 10, 30);
  const moved = (time) => (time > now ? then + day : then);
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    texts.currentNode.data = texts.currentNode.data
      .replace(/[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}/g, '6f1d2c84-0b57-4e39-9a6e-3d80c5b7f214')
      .replace(/\b\d{13}\b/g, (time) => moved(Number(time)))
      .replace(/\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/g, (time) =>
        new Date(moved(Date.parse(time))).toISOString().replace('T', ' ').replace('.000Z', ' UTC'));
  }
}

try {
  await demo.start();
  browser = await launch();
  const desk = await shopper({ viewport: { width: 1200, height: 800 } });
  await take(desk, '/', 'demo.png', { fullPage: true });
  await signIn(desk);
  await take(desk, '/session', 'demo-session.png', { fullPage: true });
  await others(desk);
  await take(desk, '/devices', 'devices.png', { fullPage: true });
  const phone = await shopper({ viewport: { width: 390, height: 844 }, colorScheme: 'dark' });
  await take(phone, '/', 'demo-phone.png');
  await withProvider.start();
  const user = await browser.newPage({ baseURL: withProvider.address, viewport: { width: 1200, height: 620 } });
  await user.goto('/auth/login');
  await user.screenshot({ path: join(folder, 'provider.png') });
} finally {
  await browser?.close();
  await demo.remove();
  await withProvider.remove();
}
