// The dashboard as an operator meets it, in a real browser, over a real server: what tests in Rust cannot see, because a
// browser decides it.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import AxeBuilder from '@axe-core/playwright';
import { Desk, signIn } from './admin.mjs';
import { launch } from './demo.mjs';

const HOSTILE = '"><script>document.title="owned"</script><img src=x onerror=\'document.title="owned"\'>';
const WINDOWS =
  'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36';

const desk = new Desk();
let browser;
let viewer;

before(async () => {
  await desk.start();
  viewer = desk.viewer();
  for (const agent of [WINDOWS, HOSTILE]) {
    const cookie = await desk.user('ada', 'analytical', agent);
    assert.equal(await desk.look(cookie), 200);
  }
  await desk.user('grace', 'compiler', WINDOWS);
  browser = await launch();
});

after(async () => {
  await browser?.close();
  await desk.remove();
});

/** A browser that has not been here yet. What its console and its policy complain about fails the test. */
async function operator(t, options = {}) {
  const context = await browser.newContext({ baseURL: desk.address, ...options });
  context.setDefaultTimeout(10_000);
  const complaints = [];
  const page = await context.newPage();
  page.on('console', (message) => message.type() === 'error' && complaints.push(message.text()));
  page.on('pageerror', (error) => complaints.push(String(error)));
  t.after(async () => {
    await context.close();
    assert.deepEqual(complaints, []);
  });
  return page;
}

/** Leads through every page, and stops at each. */
async function* everyPage(page, token = desk.token) {
  await page.goto('/admin/sign-in');
  yield 'sign-in';
  await signIn(page, token);
  await page.locator('.plot canvas').first().waitFor();
  yield 'overview';
  await page.getByText('The figures as a table').click();
  yield 'overview with its table';
  await page.goto('/admin/sessions');
  yield 'sessions';
  await page.getByRole('link', { name: 'ada' }).first().click();
  yield 'one session';
  for (const path of ['/admin/users?user=ada', '/admin/audit', '/admin/sessions?user=nobody']) {
    await page.goto(path);
    yield path;
  }
  if (token !== desk.token) return;
  for (const path of ['/admin/revoke', '/admin/revoke?user=ada']) {
    await page.goto(path);
    yield path;
  }
}

/** How many pixels of a canvas are drawn in this colour of the page, or near it. */
function drawnIn(canvas, name) {
  const probe = document.createElement('span');
  probe.style.color = getComputedStyle(document.documentElement).getPropertyValue(name);
  document.body.append(probe);
  const [red, green, blue] = getComputedStyle(probe).color.match(/\d+/g).map(Number);
  probe.remove();
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let drawn = 0;
  for (let at = 0; at < data.length; at += 4) {
    const distance = Math.abs(data[at] - red) + Math.abs(data[at + 1] - green) + Math.abs(data[at + 2] - blue);
    if (data[at + 3] > 128 && distance < 30) drawn += 1;
  }
  return drawn;
}

test('a session is found, opened and revoked', async (t) => {
  const cookie = await desk.user('edsger', 'shortest-path', WINDOWS);
  assert.equal(await desk.look(cookie), 200);
  const page = await operator(t);
  await signIn(page, desk.token);
  await page.getByRole('link', { name: 'Sessions' }).click();
  await page.getByLabel('User', { exact: true }).fill('edsger');
  await page.getByRole('button', { name: 'Search' }).click();
  assert.equal(await page.locator('table.sessions tbody tr').count(), 1);
  await page.getByRole('link', { name: 'edsger' }).click();
  await page.getByText('Ends, unless it is used before').waitFor();
  await page.getByRole('link', { name: 'Revoke', exact: true }).last().click();
  await page.getByLabel('Reason').fill('lost phone');
  await page.getByRole('button', { name: 'Revoke' }).click();
  await page.getByText('The session is ended.').waitFor();
  await page.getByText('Revoked: lost phone').waitFor();
  assert.equal(await desk.look(cookie), 401, 'the next request finds nothing');
  await page.goto('/admin/audit');
  await page.getByRole('row', { name: /session\.revoke .* lost phone/ }).waitFor();
});

test("a user's sessions end together, after a preview with their number", async (t) => {
  const cookies = [];
  for (let one = 0; one < 3; one += 1) cookies.push(await desk.user('edsger', 'shortest-path', WINDOWS));
  const page = await operator(t);
  await signIn(page, desk.token);
  await page.getByRole('link', { name: 'Revoke' }).click();
  await page.getByLabel('User', { exact: true }).fill('edsger');
  await page.getByRole('button', { name: 'Preview' }).first().click();
  await page.getByText('This ends 3 live sessions').waitFor();
  assert.equal(await desk.look(cookies[0]), 200, 'a preview ends nothing');
  await page.getByLabel('Reason').fill('left the company');
  await page.getByRole('button', { name: 'End 3 live sessions' }).click();
  await page.getByText('3 sessions are ended.').waitFor();
  for (const cookie of cookies) assert.equal(await desk.look(cookie), 401);
});

test('everything works without scripts, the figures as a table', async (t) => {
  const page = await operator(t, { javaScriptEnabled: false });
  await signIn(page, desk.token);
  assert.equal(await page.locator('.plots').isVisible(), false);
  await page.getByText('The figures as a table').click();
  assert.equal(await page.locator('table.numbers').first().locator('tbody tr').count(), 60);
});

for (const colorScheme of ['light', 'dark']) {
  test(`the plots are drawn with what happened, ${colorScheme}`, async (t) => {
    const page = await operator(t, { colorScheme });
    await signIn(page, desk.token);
    const canvas = (name) => page.locator(`[data-plot="${name}"] canvas`);
    for (const [name, colour] of [['active', '--leaf'], ['events', '--leaf'], ['latency', '--amber']]) {
      await canvas(name).waitFor();
      assert.ok((await canvas(name).evaluate(drawnIn, colour)) > 20, `${name} in ${colour}`);
    }
    const width = (await canvas('active').boundingBox()).width;
    await page.setViewportSize({ width: 500, height: 700 });
    await page.waitForFunction((was) => document.querySelector('[data-plot="active"] canvas').clientWidth < was, width);
  });
}

test('what a stranger sent as a User-Agent stays text', async (t) => {
  const page = await operator(t);
  for await (const name of everyPage(page)) {
    assert.notEqual(await page.title(), 'owned', name);
    assert.equal(await page.locator('main script, main img').count(), 0, name);
  }
  await page.goto('/admin/sessions?user=ada');
  const unknown = page.getByRole('row', { name: 'Unknown device' });
  await unknown.getByRole('link').click();
  await page.getByText(HOSTILE).waitFor();
});

test('a viewer is offered nothing to do', async (t) => {
  const page = await operator(t);
  for await (const name of everyPage(page, viewer)) {
    assert.equal(await page.getByRole('link', { name: /revoke/i }).count(), 0, name);
    if (name === 'sign-in') continue;
    const buttons = await page.getByRole('button').allInnerTexts();
    assert.deepEqual(buttons.filter((text) => !['Sign out', 'Search'].includes(text)), [], name);
  }
});

test('axe finds nothing serious on any page, light or dark', async (t) => {
  const page = await operator(t);
  for await (const name of everyPage(page)) {
    for (const colorScheme of ['light', 'dark']) {
      await page.emulateMedia({ colorScheme });
      const axe = new AxeBuilder({ page }).setLegacyMode().options({ resultTypes: ['violations'] });
      const { violations, passes } = await axe.analyze();
      assert.ok(passes.some(({ id }) => id === 'color-contrast'), 'colours were looked at');
      const serious = violations.filter(({ impact }) => ['serious', 'critical'].includes(impact));
      const found = serious.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target).join(', ')}`);
      assert.deepEqual(found, [], `${name}, ${colorScheme}`);
    }
  }
});

test('no page is wider than a window of 400 pixels', async (t) => {
  const page = await operator(t, { viewport: { width: 400, height: 800 } });
  for await (const name of everyPage(page)) {
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth), 400, name);
  }
});

test('the keyboard leads everywhere, and one sees where it is', async (t) => {
  const page = await operator(t);
  await page.goto('/admin');
  await page.waitForFunction(() => document.activeElement?.id === 'token');
  await page.keyboard.type(desk.token);
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Sign out' }).waitFor();
  await page.goto('/admin/sessions');
  const reached = new Set();
  for (let steps = 0; steps < 40; steps += 1) {
    await page.keyboard.press('Tab');
    const at = await page.evaluate(() => {
      const { activeElement: element } = document;
      const { outlineStyle } = getComputedStyle(element);
      if (element === document.body) return {};
      return { name: element.id || element.innerText || element.getAttribute('aria-label'), outlineStyle };
    });
    if (!at.name) continue;
    reached.add(at.name.trim());
    assert.notEqual(at.outlineStyle, 'none', `a focus on ${at.name} is seen`);
  }
  for (const name of ['Skip to the content', 'Overview', 'Sign out', 'user', 'status', 'since', 'handle', 'Search', 'ada']) {
    assert.ok(reached.has(name), `${name} among ${[...reached].join(', ')}`);
  }
});

test('the API can be read and tried in the browser, from this server alone', async (t) => {
  const page = await operator(t);
  const elsewhere = [];
  page.on('request', (request) => {
    const { protocol, origin } = new URL(request.url());
    if (protocol !== 'data:' && origin !== desk.address) elsewhere.push(request.url());
  });
  await signIn(page, desk.token);
  await page.getByRole('link', { name: 'API' }).click();
  await page.getByRole('button', { name: /checks/ }).first().click();
  await page.getByRole('button', { name: 'Try it out' }).click();
  await page.getByRole('button', { name: 'Execute' }).click();
  await page.locator('.live-responses-table .response-col_status', { hasText: '200' }).waitFor();
  assert.deepEqual(elsewhere, []);
});
