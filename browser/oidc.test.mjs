// Signing in with an identity provider, as a browser sees it. First the development provider that the demo brings along;
// then two instances over PostgreSQL behind a proxy that takes turns, with a provider that is none of ours.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createServer, request } from 'node:http';
import { after, before, describe, test } from 'node:test';
import AxeBuilder from '@axe-core/playwright';
import { Demo, launch } from './demo.mjs';
import { CLIENT, startProvider } from './provider.mjs';

/** Tokens, and what is in a callback's address. */
const SECRETS = /eyJ|[?&](code|state)=|verifier/;

const SECRET = 'a secret for the browser tests of the sign-in';

let browser;
before(async () => (browser = await launch()));
after(() => browser?.close());

async function visitor(t, address, options = {}) {
  const context = await browser.newContext({ baseURL: address, javaScriptEnabled: false, ...options });
  context.setDefaultTimeout(10_000);
  t.after(() => context.close());
  return { page: await context.newPage(), jar: context };
}

/** Who is signed in, as the shop says. */
async function who(page) {
  await page.goto('/');
  const [who = 'nobody'] = await page.getByTitle('Signed in').allTextContents();
  return who;
}

const words = (page) => page.getByRole('main').innerText();

describe('the development provider', () => {
  const demo = new Demo('demo.sqlite', ['--idp']);
  before(() => demo.start());
  after(() => demo.remove());

  const toProvider = async (page) => {
    await page.goto('/sign-in');
    await page.getByRole('link', { name: 'Sign in with the development provider' }).click();
    await page.getByText('Who are you?').waitFor();
  };

  test('a user signs in there, is listed as a device, and signs out there too', async (t) => {
    const { page } = await visitor(t, demo.address);
    await toProvider(page);
    assert.notEqual(new URL(page.url()).host, new URL(demo.address).host);
    await page.getByRole('button', { name: 'Continue as Ada Lovelace' }).click();
    await page.getByTitle('Signed in').waitFor();
    assert.equal(page.url(), `${demo.address}/`);
    assert.equal(await who(page), 'Ada Lovelace');
    await page.goto('/devices');
    assert.match(await words(page), /This device/);
    await page.goto('/session');
    assert.match(await words(page), /"id_token": "\(hidden\)"/);
    assert.doesNotMatch(await page.content(), /eyJ/, 'the token is for the server alone');
    await page.getByRole('banner').getByRole('button', { name: 'Sign out' }).click();
    await page.waitForURL(`${demo.address}/signed-out`);
    await toProvider(page);
    assert.match(await words(page), /Continue as Grace Hopper/, 'the provider asks again');
  });

  test('who changes their mind is told so and can try again', async (t) => {
    const { page } = await visitor(t, demo.address);
    await toProvider(page);
    await page.getByRole('button', { name: 'Cancel' }).click();
    assert.match(await words(page), /That sign-in did not work\s+The identity provider did not sign you in\.\s+Reference: [\w-]{8}/);
    const [, reference] = /Reference: ([\w-]{8})/.exec(await words(page));
    assert.match(demo.log, new RegExp(`${reference}.*access_denied|access_denied.*${reference}`), 'the log knows why');
    await page.getByRole('link', { name: 'Try again' }).click();
    await page.getByRole('button', { name: 'Continue as Grace Hopper' }).click();
    assert.equal(await who(page), 'Grace Hopper');
  });

  test('somebody who signed in long ago proves it where they signed in, and goes on', async (t) => {
    const { page } = await visitor(t, demo.address);
    await toProvider(page);
    await page.getByRole('button', { name: 'Continue as Ada Lovelace' }).click();
    await page.getByTitle('Signed in').waitFor();
    demo.signInsWere(30);
    await page.goto('/e-mail');
    await page.getByRole('link', { name: 'Prove it where you signed in' }).click();
    await page.getByRole('button', { name: 'Continue as Ada Lovelace' }).click();
    await page.waitForURL(`${demo.address}/e-mail`);
    await page.getByRole('textbox').waitFor();
  });

  test('its pages are accessible, light and dark, and no token or id is in the log', async (t) => {
    for (const colorScheme of ['light', 'dark']) {
      const { page, jar } = await visitor(t, demo.address, { colorScheme, javaScriptEnabled: true });
      await toProvider(page);
      const { violations } = await new AxeBuilder({ page }).analyze();
      assert.deepEqual(violations.map(({ id }) => id), []);
      await page.getByRole('button', { name: 'Cancel' }).click();
      assert.deepEqual((await new AxeBuilder({ page }).analyze()).violations.map(({ id }) => id), []);
      for (const { value } of await jar.cookies()) assert(!demo.log.includes(value));
    }
    assert.doesNotMatch(demo.log, SECRETS);
  });
});

const SERVER = process.env.SESSILE_TEST_POSTGRES;

describe('a provider that is none of ours, two instances, PostgreSQL', { skip: SERVER ? false : 'no PostgreSQL' }, () => {
  const database = new URL(SERVER ?? 'postgres://none/none');
  const sql = (statement, at = database) =>
    execFileSync('psql', ['-X', '-q', '-t', '-A', '-v', 'ON_ERROR_STOP=1', '-c', statement, at.href], { encoding: 'utf8' });
  let proxy, provider, address, instances, catching, turn = 0, seen = [];

  before(async () => {
    const name = `browser_oidc_${process.pid}`;
    sql(`CREATE DATABASE ${name}`);
    database.pathname = `/${name}`;
    proxy = createServer((incoming, outgoing) => {
      const to = new URL(instances[turn++ % 2].address);
      seen.push([incoming.url.split('?')[0], to.port]);
      const { method, url: path, headers } = incoming;
      if (catching && path.startsWith('/auth/callback')) {
        catching(address + path);
        catching = undefined;
        return outgoing.writeHead(204).end();
      }
      const passed = request({ host: to.hostname, port: to.port, method, path, headers }, (answer) => {
        outgoing.writeHead(answer.statusCode, answer.rawHeaders);
        answer.pipe(outgoing);
      });
      passed.on('error', () => outgoing.writeHead(502).end());
      incoming.pipe(passed);
    });
    await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    address = `http://127.0.0.1:${proxy.address().port}`;
    provider = await startProvider(address);
    const env = {
      DATABASE_URL: database.href,
      SESSION_SECRET: SECRET,
      PUBLIC_URL: address,
      OIDC_ISSUER: provider.issuer,
      OIDC_CLIENT_ID: CLIENT.id,
      OIDC_CLIENT_SECRET: CLIENT.secret,
    };
    instances = [new Demo(null, [], env), new Demo(null, [], env)];
    for (const instance of instances) await instance.start();
  });

  after(async () => {
    proxy?.closeAllConnections();
    proxy?.close();
    await provider?.stop();
    for (const instance of instances ?? []) await instance.remove();
  });

  /** Goes to the provider. */
  const begin = async (page, path = '/auth/login?return_to=/session') => {
    await page.goto(path);
    await page.waitForURL(`${provider.issuer}/**`);
  };

  /** Answers the provider's questions, as far as it asks them. The callback is not waited for. */
  const answer = async (page, user) => {
    const name = page.getByPlaceholder('Enter any login');
    if (await name.count()) {
      await name.fill(user);
      await page.getByPlaceholder('and password').fill('any');
      await page.getByRole('button').click();
    }
    const consent = page.getByRole('button', { name: 'Continue' });
    if (page.url().startsWith(provider.issuer) && (await consent.count())) await consent.click();
  };

  const signIn = async (page, user) => {
    await begin(page);
    await answer(page, user);
    await page.waitForURL(`${address}/session`);
  };

  const user = (name) => `${provider.issuer}|${name}`;

  /** The callback's address, caught before it gets to the application. */
  const caught = async (page, name) => {
    const callback = new Promise((resolve) => (catching = resolve));
    await begin(page);
    await answer(page, name);
    return callback;
  };

  const refused = async (page, url, pattern) => {
    const response = await page.goto(url);
    assert.equal(response.status(), 400);
    assert.match(await words(page), pattern);
  };

  test('a sign-in that begins at one instance ends at the other', async (t) => {
    const { page } = await visitor(t, address);
    seen = [];
    await signIn(page, 'alice');
    const at = (path) => seen.find(([url]) => url === path)[1];
    assert.notEqual(at('/auth/login'), at('/auth/callback'));
    assert.equal(await who(page), user('alice'));
    const devices = sql(`SELECT status, auth_method, provider_session IS NOT NULL FROM sessions WHERE user_id = '${user('alice')}'`);
    assert.equal(devices.trim(), 'active|oidc|t');
  });

  test('two tabs at once both get through', async (t) => {
    const { page, jar } = await visitor(t, address);
    const other = await jar.newPage();
    await begin(page);
    await begin(other);
    for (const tab of [page, other]) {
      await answer(tab, 'tabs');
      await tab.waitForURL(`${address}/session`);
    }
    assert.equal(await who(page), user('tabs'));
  });

  test('the back button leads nowhere and signs nobody out', async (t) => {
    const { page } = await visitor(t, address);
    await signIn(page, 'back');
    const places = new Set();
    for (let step = 0; step < 3; step++) {
      await page.goBack({ timeout: 3_000 }).catch(() => {});
      places.add(page.url().split('?')[0]);
    }
    assert(places.size > 1, 'it went back');
    assert.equal(await who(page), user('back'));
  });

  test('a callback works once', async (t) => {
    const { page } = await visitor(t, address);
    const callback = await caught(page, 'once');
    await page.goto(callback);
    assert.equal(await who(page), user('once'));
    const asked = provider.tokens.asked;
    await refused(page, callback, /This sign-in is over or was begun in another browser/);
    assert.equal(provider.tokens.asked, asked, 'the provider was not even asked');
    assert.equal(await who(page), user('once'), 'whoever is signed in stays so');
  });

  test('a callback works in the browser that began it and in no other', async (t) => {
    const { page } = await visitor(t, address);
    const callback = await caught(page, 'mine');
    const stranger = await visitor(t, address);
    await refused(stranger.page, callback, /Your browser sent no session cookie/);
    await begin(stranger.page);
    await refused(stranger.page, callback, /begun in another browser/);
    assert.equal(await who(stranger.page), 'nobody');
    await page.goto(callback);
    assert.equal(await who(page), user('mine'), 'nothing of it was used up');
  });

  test('a sign-in has fifteen minutes', async (t) => {
    const { page } = await visitor(t, address);
    const callback = await caught(page, 'late');
    const older = String.raw`regexp_replace(sess::text, '"begun_at":(\d+)', '"begun_at":1', 'g')::json`;
    sql(`UPDATE session SET sess = ${older} WHERE sess::text LIKE '%oidc_pending%'`);
    await refused(page, callback, /This sign-in is over/);
    await page.getByRole('link', { name: 'Try again' }).click();
    await page.waitForURL(`${address}/**`);
    assert.equal(await who(page), user('late'), 'the provider remembers, so the second time needs no question');
  });

  test('a restart of every instance in between changes nothing', async (t) => {
    const { page } = await visitor(t, address);
    const callback = await caught(page, 'restart');
    for (const instance of instances) {
      assert.equal(await instance.stop(), 0);
      await instance.start();
    }
    await page.goto(callback);
    assert.equal(await who(page), user('restart'));
  });

  test('a sign-out ends the session here, at the provider, and what else was signed in from there', async (t) => {
    const { page, jar } = await visitor(t, address);
    await signIn(page, 'out');
    const first = await jar.cookies(address);
    // The same browser signs in a second time and forgets its first session here.
    await jar.clearCookies({ name: 'sid', domain: '127.0.0.1' });
    await page.goto('/auth/login?return_to=/session');
    await page.waitForURL(`${address}/session`);
    const thief = await visitor(t, address);
    await thief.jar.addCookies(first);
    assert.equal(await who(thief.page), user('out'));
    await page.goto('/');
    await page.getByRole('banner').getByRole('button', { name: 'Sign out' }).click();
    await page.waitForURL(`${provider.issuer}/**`);
    await page.getByRole('button', { name: 'Yes, sign me out' }).click();
    await page.waitForURL(`${address}/signed-out`);
    assert.equal(await who(thief.page), 'nobody', 'the provider said so behind the scenes');
    const ends = sql(`SELECT status, end_reason IS NOT NULL FROM sessions WHERE user_id = '${user('out')}' ORDER BY 1`);
    assert.equal(ends.trim(), 'logged_out|f\nrevoked|t');
    await begin(page);
    assert.equal(await page.getByPlaceholder('Enter any login').count(), 1, 'and it asks who it is');
  });

  test('a provider that is away is said to be, and the session stays', async (t) => {
    const { page } = await visitor(t, address);
    await signIn(page, 'steady');
    for (const instance of instances) {
      await instance.stop();
      await instance.start();
    }
    await provider.stop();
    const response = await page.goto('/auth/login');
    assert.equal(response.status(), 503);
    assert.equal(response.headers()['retry-after'], '5');
    assert.match(await words(page), /The identity provider cannot be reached, try again later/);
    assert.equal(await who(page), user('steady'));
  });

  test('no token, code, state or secret is in a log', async () => {
    for (const { log } of instances) {
      assert.match(log, /a sign-in failed/);
      assert.doesNotMatch(log, SECRETS);
      assert(!log.includes(CLIENT.secret) && !log.includes(SECRET));
    }
  });
});
