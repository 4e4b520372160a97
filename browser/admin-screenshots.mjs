// Takes the pictures of the dashboard for the book: node admin-screenshots.mjs [FOLDER]. A day's history is written into
// the registry beside the server; so plots and tables have something to show.

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Desk, signIn } from './admin.mjs';
import { launch } from './demo.mjs';

const folder = process.argv[2] ?? fileURLToPath(new URL('../docs/src/images', import.meta.url));
const desk = new Desk();
let browser;

const DEVICES = {
  'Chrome on Windows':
    'Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36',
  'Safari on iPhone':
    'Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1',
  'Firefox on macOS': 'Mozilla/5.0 (Macintosh; Intel Mac OS X 14.5; rv:127.0) Gecko/20100101 Firefox/127.0',
};
const PASSWORDS = { ada: 'analytical', grace: 'compiler', edsger: 'shortest-path' };

/** The same numbers with every run: a linear congruential generator. */
function* numbers(seed = 7) {
  for (let state = seed; ; ) yield (state = (state * 1_103_515_245 + 12_345) % 2 ** 31) / 2 ** 31;
}

/** Sessions that began, and some that ended, in the last hour. */
function history() {
  const draw = numbers();
  const next = () => draw.next().value;
  const rows = [];
  for (let number = 0; number < 240; number += 1) {
    const began = Math.floor(3500 * next() ** 0.8) + 30;
    const user = ['ada', 'grace', 'edsger', 'mary', 'alan', 'barbara'][Math.floor(6 * next())];
    const device = Object.keys(DEVICES)[Math.floor(3 * next())];
    const over = next() < 0.4;
    const ended = over ? `'${next() < 0.75 ? 'logged_out' : 'revoked'}'` : "'active'";
    const at = (seconds) => `strftime('%Y-%m-%d %H:%M:%f', 'now', '-${seconds} seconds')`;
    const handle = `00000000-0000-4000-8000-${number.toString(16).padStart(12, '0')}`;
    const end = Math.floor(began * next());
    const ends = `strftime('%Y-%m-%d %H:%M:%f', 'now', '+${Math.floor(60 + 5400 * next())} seconds')`;
    rows.push({ handle, user, device, ended, began: at(began), seen: at(end), over: over ? at(end) : 'NULL', ends, agent: DEVICES[device], ip: `203.0.113.${1 + (number % 200)}` });
  }
  return rows;
}

function write(rows) {
  for (const row of rows) {
    desk.sql(`INSERT INTO sessions
      (id, sid, user_id, status, ip_address, user_agent, device, auth_method, created_at, authenticated_at, last_seen_at, expires_at, updated_at, logged_out_at)
      VALUES ('${row.handle}', 'made-${row.handle}', '${row.user}', ${row.ended}, '${row.ip}', '${row.agent}', '${row.device}', 'password',
        ${row.began}, ${row.began}, ${row.seen}, ${row.ends}, ${row.seen}, ${row.over})`);
    if (row.over !== 'NULL') continue;
    desk.sql(`INSERT INTO session (sid, sess, expire)
      SELECT 'made-${row.handle}', json_set(sess, '$.sessile.handle', '${row.handle}', '$.sessile.owner', '${row.user}'), ${row.ends}
      FROM session WHERE sid NOT LIKE 'made-%' LIMIT 1`);
  }
}

async function take(page, path, name) {
  await page.goto(path);
  await page.waitForLoadState('networkidle');
  await page.screenshot({ path: join(folder, name), fullPage: true });
}

try {
  await desk.start();
  browser = await launch();
  const cookies = [];
  for (const [user, password] of Object.entries(PASSWORDS)) {
    for (const agent of Object.values(DEVICES)) cookies.push(await desk.user(user, password, agent));
  }
  for (const cookie of [...cookies, ...cookies, ...cookies]) await desk.look(cookie);
  write(history());
  for (const colorScheme of ['light', 'dark']) {
    const context = await browser.newContext({ baseURL: desk.address, colorScheme, viewport: { width: 1200, height: 800 } });
    const page = await context.newPage();
    await signIn(page, desk.token);
    await take(page, '/admin', `admin-${colorScheme}.png`);
    if (colorScheme === 'light') {
      await take(page, '/admin/sessions?status=live', 'admin-sessions.png');
      const { sessions } = await desk.ask('sessions?user=ada&status=live&ip=127.0.0.1');
      await take(page, `/admin/sessions/${sessions[0].handle}`, 'admin-session.png');
    }
    await context.close();
  }
} finally {
  await browser?.close();
  await desk.remove();
}
