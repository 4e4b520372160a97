// The demo and a browser to look at it with: what the tests and the pictures have in common. The server is the real
// binary, in a working directory of its own under the system's temporary folder. Nobody waits ten minutes: a sign-in becomes
// an old one in the database.

import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const BINARY = process.env.SESSILE_BIN ?? fileURLToPath(new URL('../target/debug/sessile', import.meta.url));
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';

// No requests of the browser's own. The sandbox is off because it does not work for root, as in most containers.
const ARGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

export const launch = () => chromium.launch({ executablePath: CHROMIUM, args: ARGS });

/** A demo that can be stopped, and started again at the same address with the same files. */
export class Demo {
  address = 'http://127.0.0.1:0';
  log = '';
  #folder = mkdtempSync(join(tmpdir(), 'sessile-browser-'));
  #sqlite;
  #args;
  #env;
  #server;
  #ended;

  /** With these arguments and this environment; without a file the sessions are where the environment says. */
  constructor(sqlite = 'demo.sqlite', args = [], env = {}) {
    this.#sqlite = sqlite;
    this.#args = sqlite ? ['--store', `sqlite:${sqlite}`, ...args] : args;
    this.#env = env;
    process.on('exit', () => this.#server?.kill('SIGKILL'));
  }

  /** Starts the server and waits until it says where it listens. */
  async start() {
    const args = ['demo', '--listen', new URL(this.address).host, ...this.#args];
    // Nothing of the caller's environment: a setting of Sessile's would change what is tested.
    const env = { PATH: process.env.PATH, ...this.#env };
    this.#server = spawn(BINARY, args, { cwd: this.#folder, env, stdio: ['ignore', 'ignore', 'pipe'] });
    this.#ended = new Promise((resolve) => this.#server.on('close', resolve));
    this.address = await new Promise((resolve, reject) => {
      this.#server.on('error', reject);
      this.#server.on('close', () => reject(new Error(`the demo ended before it listened:\n${this.log}`)));
      createInterface({ input: this.#server.stderr }).on('line', (line) => {
        this.log += `${line}\n`;
        const listening = /listening on (http:\S+)/.exec(line);
        if (listening) resolve(listening[1]);
      });
    });
  }

  /** Stops the server as an operator does, and returns its exit code. */
  async stop() {
    this.#server?.kill('SIGTERM');
    return this.#ended;
  }

  async remove() {
    await this.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Every byte the database holds, in its file and in its log. */
  stored() {
    return Buffer.concat(['', '-wal'].map((suffix) => readFileSync(join(this.#folder, this.#sqlite + suffix))));
  }

  /** Changes the database beside the server, as an operator may. */
  sql(statement) {
    execFileSync('sqlite3', ['-bail', '-cmd', '.timeout 5000', join(this.#folder, this.#sqlite), statement]);
  }

  /** Makes every sign-in longer ago by this. */
  signInsWere(minutes) {
    for (const time of ['authenticated_at', 'proved_at']) {
      const at = `'$.sessile.${time}'`;
      this.sql(`UPDATE session SET sess = json_set(sess, ${at}, json_extract(sess, ${at}) - ${minutes * 60_000})
        WHERE json_extract(sess, ${at}) IS NOT NULL`);
    }
  }
}

export async function add(page, product) {
  await page.goto('/');
  await page.getByRole('button', { name: `Add to cart: ${product}` }).click();
  await page.getByText(`${product} is in your cart.`).waitFor();
}

export async function signIn(page, password = 'analytical', user = 'ada') {
  await page.goto('/sign-in');
  await page.getByLabel('User name').fill(user);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('main').getByRole('button', { name: 'Sign in' }).click();
  await page.getByText(/^Signed in as |do not belong together/).waitFor();
}
