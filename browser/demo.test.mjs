// The demo as a person meets it: what the tests in Rust cannot see, because it is the browser that decides it. Scripts
// are off unless a test needs them, for the demo needs none.

import assert from 'node:assert/strict';
import { createServer, request } from 'node:http';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import AxeBuilder from '@axe-core/playwright';
import { Demo, add, launch, signIn } from './demo.mjs';

const IPHONE =
  'Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1';

const demo = new Demo();
let browser;

before(async () => {
  await demo.start();
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await demo.remove();
});

/** A browser that has not been here yet: a tab, and the jar of cookies it belongs to. */
async function visitor(t, options = {}) {
  const context = await browser.newContext({ baseURL: demo.address, javaScriptEnabled: false, ...options });
  context.setDefaultTimeout(10_000);
  t.after(() => context.close());
  const page = await context.newPage();
  return { page, jar: context };
}

/** Somebody who has stolen these cookies. */
async function thief(t, cookies) {
  const other = await visitor(t);
  await other.jar.addCookies(cookies);
  return other.page;
}

/** What the shop knows of the visitor: who is signed in, how many things are in the cart. */
async function seen(page) {
  await page.goto('/');
  const [who = 'nobody'] = await page.getByTitle('Signed in').allTextContents();
  const [cart = '0'] = await page.locator('.count b').allTextContents();
  return `${who}, ${cart} in the cart`;
}

/** Clicks on the one button or link of this name in the page's main part. */
async function click(page, role, name) {
  await page.getByRole('main').getByRole(role, { name }).click();
}

/** The devices on the page, a line each. */
async function devices(page) {
  const texts = await page.locator('.device > div').allInnerTexts();
  return texts.map((text) => text.replace(/\s+/g, ' '));
}

/** Leads through every page in every state it has, and stops at each. */
async function* everyPage(t, page) {
  for (const path of ['/', '/session', '/sign-in', '/signed-out', '/e-mail', '/devices', '/nowhere']) {
    await page.goto(path);
    yield `${path} with nothing stored`;
  }
  await signIn(page, 'wrong');
  yield 'a wrong password';
  await add(page, 'Oak seedling');
  await page.goto('/session');
  await page.locator('summary').click();
  yield '/session signed out';
  await signIn(page);
  yield 'just signed in';
  for (const path of ['/sign-in', '/e-mail']) {
    await page.goto(path);
    yield `${path} signed in`;
  }
  const { page: other } = await visitor(t, { userAgent: `"><script>alert(1)</script>${'x'.repeat(400)}` });
  await signIn(other);
  await page.goto('/devices');
  yield '/devices';
  const links = await page.locator('.device a').evaluateAll((all) => all.map((link) => link.getAttribute('href')));
  for (const path of [...links.slice(0, 2), '/devices/others/sign-out', '/devices?after=0.6f1d2c84-0b57-4e39-9a6e-3d80c5b7f214']) {
    await page.goto(path);
    yield path;
  }
  demo.signInsWere(11);
  await page.goto('/e-mail');
  yield '/e-mail, signed in long ago';
  await page.goto(links[1]);
  await page.getByLabel('Password').fill('wrong');
  await click(page, 'button', 'Confirm');
  await page.getByText('That is not the password.').waitFor();
  yield 'a wrong password, asked again';
  await page.getByLabel('Password').fill('analytical');
  await click(page, 'button', 'Confirm');
  await click(page, 'button', 'Sign out');
  await page.getByRole('status').getByText('That device is signed out.').waitFor();
  yield '/devices with a history';
  await page.goto('/session');
  await page.getByRole('button', { name: 'Rotate the id' }).click();
  await page.getByRole('status').getByText('Your session has a new id').waitFor();
  yield '/session with a new id';
}

test('a first visit sets no cookie and stores nothing', async (t) => {
  const { page, jar } = await visitor(t);
  const before = demo.stored();
  for (const path of ['/', '/session', '/sign-in', '/signed-out', '/e-mail', '/devices', '/nowhere']) {
    const response = await page.goto(path);
    assert.equal(await response.headerValue('set-cookie'), null, path);
  }
  assert.equal(await seen(page), 'nobody, 0 in the cart');
  await page.getByText('No session yet: nothing has been stored.').waitFor();
  assert.deepEqual(await jar.cookies(), []);
  assert.ok(demo.stored().equals(before), 'the database changed');
});

test('putting something in the cart makes one cookie, which no script reads and no other site sends', async (t) => {
  const { page, jar } = await visitor(t);
  const before = demo.stored();
  const answered = page.waitForResponse(`${demo.address}/cart`);
  await add(page, 'Oak seedling');
  // In the jar a cookie without SameSite is Lax too, but is sent with other sites' forms for two minutes.
  const header = await (await answered).headerValue('set-cookie');
  assert.match(header, /^sid=[^;]+; Path=\/; Expires=[^;]+; HttpOnly; SameSite=Lax$/);
  const cookies = await jar.cookies();
  assert.deepEqual(cookies.map(({ name, httpOnly }) => ({ name, httpOnly })), [{ name: 'sid', httpOnly: true }]);
  assert.equal(await page.evaluate(() => document.cookie), '');
  assert.ok(!demo.stored().equals(before), 'the database is as it was');
});

test('the cart comes along when you sign in, and the cookie from before opens nothing', async (t) => {
  const { page, jar } = await visitor(t);
  await add(page, 'Oak seedling');
  await add(page, 'Barnacle mug');
  const before = await jar.cookies();
  await signIn(page);
  assert.equal(await seen(page), 'Ada Lovelace, 2 in the cart');
  const after = await jar.cookies();
  assert.equal(after.length, 1);
  assert.notEqual(after[0].value, before[0].value);
  assert.equal(await seen(await thief(t, before)), 'nobody, 0 in the cart');
});

test('a restart of the server signs nobody out', async (t) => {
  const { page } = await visitor(t);
  await add(page, 'Oak seedling');
  await signIn(page);
  assert.equal(await demo.stop(), 0);
  await demo.start();
  assert.equal(await seen(page), 'Ada Lovelace, 1 in the cart');
});

test('signing out ends it: in the jar, for a copy of the cookie, and behind the back button', async (t) => {
  const { page, jar } = await visitor(t);
  await add(page, 'Oak seedling');
  await signIn(page);
  const copy = await jar.cookies();
  assert.equal(await seen(await thief(t, copy)), 'Ada Lovelace, 1 in the cart', 'the copy is good until then');

  await page.goto('/session');
  await page.getByRole('banner').getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('heading', { name: 'You are signed out' }).waitFor();
  assert.deepEqual(await jar.cookies(), []);
  assert.equal(await seen(await thief(t, copy)), 'nobody, 0 in the cart');

  await page.goBack();
  assert.equal(new URL(page.url()).pathname, '/session');
  assert.ok(!(await page.content()).includes('Ada Lovelace'), 'the back button shows the private page');
});

test('a device is signed out from another one, by a link and a button', async (t) => {
  const { page: desk } = await visitor(t);
  const { page: phone } = await visitor(t, { userAgent: IPHONE });
  for (const page of [desk, phone]) await signIn(page, 'shortest-path', 'edsger');

  await desk.getByRole('link', { name: 'Your devices' }).click();
  const [here, other, ...more] = await devices(desk);
  assert.match(here, /^Chrome on Linux This device IP 127\.0\.0\.1 Signed in just now Last active now$/);
  assert.match(other, /^Safari on iPhone IP 127\.0\.0\.1 Signed in just now Last active just now$/);
  assert.deepEqual(more, []);
  await desk.getByRole('link', { name: 'Sign out: Safari on iPhone' }).click();
  await desk.getByRole('heading', { name: 'Sign out that device?' }).waitFor();
  assert.equal(await seen(phone), 'Edsger Dijkstra, 0 in the cart', 'a question changes nothing');
  await click(desk, 'button', 'Sign out');

  await desk.getByRole('status').getByText('That device is signed out.').waitFor();
  assert.deepEqual((await devices(desk)).length, 1);
  assert.equal(await desk.getByRole('link', { name: 'Sign out all others' }).count(), 0);
  const [ended] = await desk.locator('.history li').allInnerTexts();
  assert.match(ended, /^Safari on iPhone 127\.0\.0\.1, signed in just now\s+Signed out from elsewhere just now: ended from/);
  assert.equal(await seen(phone), 'nobody, 0 in the cart');
  assert.equal(await seen(desk), 'Edsger Dijkstra, 0 in the cart');
});

test('signing out all others asks for the password of somebody who signed in long ago, and then goes on', async (t) => {
  const { page: desk, jar } = await visitor(t);
  const others = [await visitor(t), await visitor(t)];
  for (const { page } of [{ page: desk }, ...others]) await signIn(page, 'shortest-path', 'edsger');
  demo.signInsWere(11);
  const before = await jar.cookies();
  await desk.goto('/devices');
  await click(desk, 'link', 'Sign out all others');
  await desk.getByRole('heading', { name: 'Confirm it is you' }).waitFor();
  await desk.getByLabel('Password').fill('shortest-path');
  await click(desk, 'button', 'Confirm');
  await desk.getByRole('heading', { name: 'Sign out all others?' }).waitFor();
  assert.notEqual((await jar.cookies())[0].value, before[0].value, 'a proof changes the id');
  await click(desk, 'button', 'Sign out all others');
  await desk.getByRole('status').getByText('other devices are signed out.').waitFor();
  assert.equal((await devices(desk)).length, 1);
  for (const { page } of others) assert.equal(await seen(page), 'nobody, 0 in the cart');
  assert.equal(await seen(desk), 'Edsger Dijkstra, 0 in the cart');
});

/** Stands before the demo, notes every form with its cookie and the answer's, and keeps an answer until `leave` lets it go. */
async function door(t, leave) {
  const forms = [];
  const server = createServer((incoming, outgoing) => {
    const { method, url, headers } = incoming;
    const onward = request(demo.address + url, { method, headers }, async (answer) => {
      if (method === 'POST') {
        forms.push({ url, cookie: headers.cookie, sets: answer.headers['set-cookie'] });
        await leave(url, forms.length);
      }
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.pipe(outgoing);
    });
    incoming.pipe(onward);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => server.close().closeAllConnections());
  return { forms, address: `http://127.0.0.1:${server.address().port}` };
}

/** A promise, and what keeps it. */
function gate() {
  let open;
  const opened = new Promise((resolve) => { open = resolve; });
  return { open, opened };
}

async function eventually(condition) {
  for (let tries = 0; !condition(); tries += 1) {
    assert.ok(tries < 500, `expected within ten seconds: ${condition}`);
    await sleep(20);
  }
}

// One tab signs in. The server has moved the session to its new id, but the browser has not heard of it yet, when another
// tab sends twenty forms with the old one. Fifteen are answered before the sign-in is, and five after it: a browser has
// six connections to a host.
test('a late request does not log the browser out', async (t) => {
  const [signedIn, late] = [gate(), gate()];
  const { forms, address } = await door(t, (url, count) => {
    if (url === '/sign-in') return signedIn.opened;
    return url === '/cart/more' && count > 17 ? late.opened : undefined;
  });
  // Scripts send the forms, which the demo's pages forbid.
  const { page: shop, jar } = await visitor(t, { baseURL: address, javaScriptEnabled: true, bypassCSP: true });
  await add(shop, 'Oak seedling');
  const [{ value: old }] = await jar.cookies();
  const desk = await jar.newPage();
  const welcome = signIn(desk, 'compiler', 'grace');
  await eventually(() => forms.some(({ url }) => url === '/sign-in'));
  const before = demo.stored();

  const answers = shop.evaluate(() => {
    const body = new URLSearchParams({ product: 'mug' });
    const send = () => fetch('/cart/more', { method: 'POST', body, credentials: 'same-origin', redirect: 'manual' });
    return Promise.all(Array.from({ length: 20 }, async () => (await send()).type));
  });
  await eventually(() => forms.length === 22);
  assert.ok(demo.stored().equals(before), 'a late request wrote something');
  signedIn.open();
  await welcome;
  late.open();
  assert.deepEqual(await answers, Array(20).fill('opaqueredirect'));

  const sent = forms.filter(({ url }) => url === '/cart/more');
  assert.deepEqual(sent, Array(20).fill({ url: '/cart/more', cookie: `sid=${old}`, sets: undefined }));
  const cookies = await jar.cookies();
  assert.equal(cookies.length, 1);
  assert.notEqual(cookies[0].value, old);
  assert.equal(await seen(desk), 'Grace Hopper, 1 in the cart');
  await desk.goto('/devices');
  assert.equal((await devices(desk)).length, 1);

  // The same without a browser in between.
  const replay = () => fetch(`${demo.address}/cart/more`, {
    method: 'POST', body: new URLSearchParams({ product: 'mug' }), headers: { cookie: `sid=${old}` }, redirect: 'manual',
  });
  const quiet = demo.stored();
  for (const answer of await Promise.all(Array.from({ length: 20 }, replay))) {
    assert.equal(answer.status, 303);
    assert.deepEqual(answer.headers.getSetCookie(), []);
  }
  assert.ok(demo.stored().equals(quiet), 'a replayed request wrote something');
  assert.equal(await seen(desk), 'Grace Hopper, 1 in the cart');
});

// Another port is another origin but the same site: the cookie goes along, and only the check of forms is in the way.
for (const { from, host, carries } of [
  { from: 'another port of this host', host: '127.0.0.1', carries: true },
  { from: 'another site', host: 'localhost', carries: false },
]) {
  test(`a form from ${from} changes nothing`, async (t) => {
    const elsewhere = createServer((request, response) => {
      response.setHeader('content-type', 'text/html');
      response.end(`<form method="post" action="${demo.address}${request.url}">
        <input name="product" value="mug"><button>Win a prize</button></form>`);
    });
    await new Promise((resolve) => elsewhere.listen(0, '127.0.0.1', resolve));
    t.after(() => elsewhere.close().closeAllConnections());

    const { page, jar } = await visitor(t);
    await add(page, 'Oak seedling');
    await signIn(page);
    const before = await jar.cookies();
    for (const path of ['/cart', '/sign-out']) {
      await page.goto(`http://${host}:${elsewhere.address().port}${path}`);
      const answered = page.waitForResponse(demo.address + path);
      await page.getByRole('button').click();
      const response = await answered;
      assert.equal(response.status(), 403);
      const { cookie } = await response.request().allHeaders();
      assert.equal(cookie !== undefined, carries, 'whether the cookie went along');
      await page.getByRole('heading', { name: 'Refused' }).waitFor();
    }
    assert.deepEqual(await jar.cookies(), before);
    assert.equal(await seen(page), 'Ada Lovelace, 1 in the cart');
  });
}

test('the id in the cookie stands in no page and not in the log', async (t) => {
  const { page, jar } = await visitor(t);
  const [pages, secrets] = [[demo.log], new Set()];
  for await (const _ of everyPage(t, page)) {
    pages.push(await page.content());
    for (const { value } of await jar.cookies()) {
      const [, id, signature] = /^s:(.{32})\.(.+)$/.exec(decodeURIComponent(value));
      secrets.add(id).add(signature).add(encodeURIComponent(signature));
    }
  }
  assert.ok(secrets.size > 9, 'the id changed when signing in, for the password, and when asked to');
  for (const secret of secrets) {
    assert.ok(!pages.concat(demo.log).some((text) => text.includes(secret)), `${secret} is shown`);
  }
});

test('no page asks another host, breaks its policy or logs an error', async (t) => {
  const { page } = await visitor(t, { javaScriptEnabled: true });
  const [trouble, failed] = [[], new Set()];
  page.on('request', (request) => {
    const url = request.url();
    if (!url.startsWith(`${demo.address}/`) && !url.startsWith('data:')) trouble.push(`asked for ${url}`);
  });
  page.on('response', (response) => {
    if (response.request().isNavigationRequest() && response.status() >= 400) failed.add(response.url());
  });
  page.on('console', (message) => {
    // The browser also logs that a page is an error page, which is as it should be.
    const expected = message.text().startsWith('Failed to load resource') && failed.has(message.location().url);
    if (['error', 'warning'].includes(message.type()) && !expected) trouble.push(message.text());
  });
  page.on('pageerror', (error) => trouble.push(error.message));
  for await (const _ of everyPage(t, page));
  assert.ok(failed.size > 0, 'some of the pages are error pages');
  assert.deepEqual(trouble, []);
});

test('no page is wider than a phone of 360 pixels', async (t) => {
  const { page } = await visitor(t, { viewport: { width: 360, height: 740 } });
  for await (const name of everyPage(t, page)) {
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.equal(width, 360, name);
  }
});

test('axe finds nothing serious on any page, light or dark', async (t) => {
  const { page } = await visitor(t, { javaScriptEnabled: true });
  for await (const name of everyPage(t, page)) {
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      // Legacy is what looks at this page alone. There are no frames.
      const axe = new AxeBuilder({ page }).setLegacyMode().options({ resultTypes: ['violations'] });
      if (colorScheme === 'dark') axe.withRules('color-contrast'); // only the colours are others
      const { violations, passes } = await axe.analyze();
      assert.ok(passes.some(({ id }) => id === 'color-contrast'), 'colours were looked at');
      const serious = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
      const found = serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target).join(', ')}`);
      assert.deepEqual(found, [], `${name}, ${colorScheme}`);
    }
  }
});
