// `sessile serve` with its dashboard, over the same sessions as a demo in which users sign in: what the dashboard's tests,
// its pictures and the examination of its API have in common.

import { execFileSync, spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { BINARY, Demo } from './demo.mjs';

/** What both programs have to agree on. */
const SHARED = { SESSION_SECRET: randomBytes(32).toString('base64'), COOKIE_NAME: 'sid', COOKIE_SECURE: 'auto' };

/** A demo for the users, and a server for the operators. */
export class Desk {
  log = '';
  #env;
  #server;
  #ended;

  /** Over a SQLite file, or over the PostgreSQL database at this address. */
  constructor(database) {
    this.#env = { ...SHARED, DATABASE_URL: database ?? 'sqlite:desk.sqlite' };
    this.demo = new Demo(null, [], this.#env);
    process.on('exit', () => this.#server?.kill('SIGKILL'));
  }

  /** Starts both, and waits for the addresses and the first operator's token. */
  async start() {
    await this.demo.start();
    const args = ['serve', '--listen', '127.0.0.1:0', '--admin', '127.0.0.1:0'];
    const options = { cwd: this.demo.folder, env: { PATH: process.env.PATH, ...this.#env }, stdio: ['ignore', 'ignore', 'pipe'] };
    this.#server = spawn(BINARY, args, options);
    this.#ended = new Promise((resolve) => this.#server.on('close', resolve));
    await new Promise((resolve, reject) => {
      this.#server.on('error', reject);
      this.#server.on('close', () => reject(new Error(`the server ended before it listened:\n${this.log}`)));
      createInterface({ input: this.#server.stderr }).on('line', (line) => {
        this.log += `${line}\n`;
        this.address ??= /for operators on (http:\S+)/.exec(line)?.[1];
        this.publicAddress ??= /listening on (http:\S+)/.exec(line)?.[1];
        this.token ??= /: (sessile_op_\S+)/.exec(line)?.[1];
        if (this.address && this.publicAddress && this.token) resolve();
      });
    });
  }

  async remove() {
    this.#server?.kill('SIGTERM');
    await this.#ended;
    await this.demo.remove();
  }

  /** Changes the SQLite file beside the server. */
  sql(statement) {
    execFileSync('sqlite3', ['-bail', '-cmd', '.timeout 5000', join(this.demo.folder, 'desk.sqlite'), statement]);
  }

  /** Another operator, who may only look; their token. */
  viewer() {
    const token = `sessile_op_${randomBytes(32).toString('base64url')}`;
    const hash = createHash('sha256').update(token).digest('hex');
    this.sql(`INSERT INTO sessions_operators VALUES ('vera', 'viewer', x'${hash}', datetime('now'))`);
    return token;
  }

  /** A user signs in at the demo; the cookie. */
  async user(user, password, userAgent) {
    const response = await fetch(`${this.demo.address}/sign-in`, {
      method: 'POST',
      redirect: 'manual',
      headers: { 'User-Agent': userAgent, 'Sec-Fetch-Site': 'same-origin' },
      body: new URLSearchParams({ user, password }),
    });
    if (response.status !== 303) throw new Error(`expected a sign-in, found ${response.status}`);
    return response.headers.getSetCookie()[0].split(';')[0];
  }

  /** That user looks at their devices, at the server; a store's answer for the dashboard to time. */
  async look(cookie) {
    return (await fetch(`${this.publicAddress}/devices`, { headers: { Cookie: cookie } })).status;
  }

  /** A question to the API, with the first operator's token. */
  async ask(path) {
    const response = await fetch(`${this.address}/admin/api/v1/${path}`, { headers: { Authorization: `Bearer ${this.token}` } });
    return response.json();
  }
}

/** Signs an operator in. */
export async function signIn(page, token) {
  await page.goto('/admin');
  await page.getByLabel('Token').fill(token);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.getByRole('button', { name: 'Sign out' }).waitFor();
}
