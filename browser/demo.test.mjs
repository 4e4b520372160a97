// The demo as a person meets it: what the tests in Rust cannot see, because it is the browser that decides it. Scripts
// are off unless a test needs them, for the demo needs none.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import AxeBuilder from '@axe-core/playwright';
import { Demo, add, launch, signIn } from './demo.mjs';

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

/** Leads through every page in every state it has, and stops at each. */
async function* everyPage(page) {
  for (const path of ['/', '/session', '/sign-in', '/signed-out', '/e-mail', '/nowhere']) {
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
  // The page that asks for the password again comes after a minute, or after a wrong one.
  await page.goto('/sign-in');
  await page.locator('main form').evaluate((form) => form.setAttribute('action', '/confirm'));
  await page.getByLabel('User name').fill('ada');
  await page.getByLabel('Password').fill('wrong');
  await page.getByRole('main').getByRole('button', { name: 'Sign in' }).click();
  await page.getByText('That is not the password.').waitFor();
  yield 'a wrong password, asked again';
  await page.goto('/session');
  await page.getByRole('button', { name: 'Rotate the id' }).click();
  await page.getByRole('status').getByText('Your session has a new id').waitFor();
  yield '/session with a new id';
}

test('a first visit sets no cookie and stores nothing', async (t) => {
  const { page, jar } = await visitor(t);
  const before = demo.stored();
  for (const path of ['/', '/session', '/sign-in', '/signed-out', '/e-mail', '/nowhere']) {
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
  for await (const _ of everyPage(page)) {
    pages.push(await page.content());
    for (const { value } of await jar.cookies()) {
      const [, id, signature] = /^s:(.{32})\.(.+)$/.exec(decodeURIComponent(value));
      secrets.add(id).add(signature).add(encodeURIComponent(signature));
    }
  }
  assert.ok(secrets.size > 6, 'the id changed when signing in and when asked to');
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
  for await (const _ of everyPage(page));
  assert.ok(failed.size > 0, 'some of the pages are error pages');
  assert.deepEqual(trouble, []);
});

test('no page is wider than a phone of 360 pixels', async (t) => {
  const { page } = await visitor(t, { viewport: { width: 360, height: 740 } });
  for await (const name of everyPage(page)) {
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.equal(width, 360, name);
  }
});

test('axe finds nothing serious on any page, light or dark', async (t) => {
  const { page } = await visitor(t, { javaScriptEnabled: true });
  for await (const name of everyPage(page)) {
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
