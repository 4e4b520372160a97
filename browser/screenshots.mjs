// Takes the pictures of the demo for the README and the book: node screenshots.mjs [FOLDER]. What differs from one run
// to the next (times, the session's handle) is replaced, so that the same pages make the same pictures.

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Demo, add, launch, signIn } from './demo.mjs';

const folder = process.argv[2] ?? fileURLToPath(new URL('../docs/src/images', import.meta.url));
const demo = new Demo('sessile-demo.sqlite');
let browser;

/** A tab with something in the cart. */
async function shopper(options) {
  const page = await browser.newPage({ baseURL: demo.address, javaScriptEnabled: false, ...options });
  for (const product of ['Oak seedling', 'Oak seedling', 'Barnacle mug']) await add(page, product);
  return page;
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
  const phone = await shopper({ viewport: { width: 390, height: 844 }, colorScheme: 'dark' });
  await take(phone, '/', 'demo-phone.png');
} finally {
  await browser?.close();
  await demo.remove();
}
