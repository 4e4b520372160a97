// What the benchmarks share: programs that are started and always ended, the database, requests of our own, tables.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

export const file = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const { Client } = createRequire(file('interop/package.json'))('pg');

export const TARGET = process.env.CARGO_TARGET_DIR;
const SERVER = process.env.SESSILE_TEST_POSTGRES;

/// The command line's options, with these defaults. Those whose default is a number have to be whole numbers from 1.
export function optionsOf(defaults) {
  const options = Object.fromEntries(
    Object.entries(defaults).map(([name, value]) => [name, { type: 'string', default: String(value) }]),
  );
  const typed = parseArgs({ options }).values;
  return Object.fromEntries(Object.entries(typed).map(([name, text]) => {
    if (typeof defaults[name] !== 'number') return [name, text];
    const value = Number(text);
    if (!Number.isInteger(value) || value < 1) throw new Error(`expected --${name} to be a whole number from 1`);
    return [name, value];
  }));
}

// ---- life: whatever happens, what was started here is ended ----

export const folder = mkdtempSync(join(tmpdir(), 'sessile-bench-'));
const children = new Set();

let ending = false;

export async function end(code) {
  if (ending) return;
  ending = true;
  const gone = [...children].map((child) => new Promise((resolve) => child.on('exit', resolve)));
  for (const child of children) child.kill('SIGKILL');
  await Promise.all(gone);
  rmSync(folder, { recursive: true, force: true });
  process.exit(code);
}
export function fail(error) {
  if (!ending) console.error(`bench: ${error?.stack ?? error}`);
  end(1);
}
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => end(130));
process.on('uncaughtException', fail);
process.on('unhandledRejection', fail);

export const say = (text) => process.stderr.write(`${text}\n`);

export function start(command, args, env = {}) {
  const stdio = ['pipe', 'pipe', 'inherit'];
  const child = spawn(command, args, { stdio, env: { ...process.env, RUST_LOG: 'warn', ...env } });
  children.add(child);
  child.on('error', fail);
  child.on('exit', () => children.delete(child));
  return child;
}

export async function startApp(contender) {
  const app = start(...contender.start(contender.url), { NODE_ENV: 'production' });
  app.on('exit', (code, signal) => fail(`${contender.name} ended by itself (${signal ?? code})`));
  for await (const line of createInterface({ input: app.stdout })) {
    const address = /^listening on (http:\S+)$/.exec(line)?.[1];
    if (address) return Object.assign(contender, { pid: app.pid, address });
  }
}

// ---- the database ----

export const urlOf = (database) => {
  const url = new URL(SERVER);
  url.pathname = `/${database}`;
  return url.href;
};

export async function connect(database) {
  const client = new Client({ connectionString: urlOf(database) });
  // The server going away under us ends the run.
  client.on('error', fail);
  await client.connect();
  return client;
}

export const admin = await connect('postgres');
// ---- requests ----

export const VALUE = 'x'.repeat(300);
const SPARE = Array.from({ length: 4 }, (_, n) => [`key${n}`, 'y'.repeat(8)]);

export const agent = new Agent({ keepAlive: true, maxSockets: 16 });

export function send(contender, method, path, cookie) {
  return new Promise((resolve, reject) => {
    const headers = cookie ? { cookie } : {};
    request(contender.address + path, { method, agent, headers }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (chunk) => { body += chunk; }).on('error', reject).on('end', () => {
        if (response.statusCode !== 200) {
          reject(new Error(`${contender.name}: ${method} ${path} answered ${response.statusCode}: ${body}`));
          return;
        }
        const set = response.headers['set-cookie']?.[0].split(';')[0];
        resolve({ body, cookie: set ?? cookie });
      });
    }).on('error', reject).end();
  });
}

/// A session with about 400 bytes of data.
export async function makeSession(contender) {
  let cookie;
  for (const [key, value] of [['a', VALUE], ...SPARE]) {
    ({ cookie } = await send(contender, 'POST', `/set?k=${key}&v=${value}`, cookie));
  }
  return cookie;
}

// ---- tables ----

export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function table(head, rows) {
  const widths = head.map((_, column) => Math.max(...[head, ...rows].map((row) => String(row[column]).length)));
  const line = (row) => `| ${row.map((cell, n) => (n ? String(cell).padStart(widths[n]) : String(cell).padEnd(widths[n]))).join(' | ')} |`;
  return [line(head), `|${widths.map((width, n) => (n ? `${'-'.repeat(width + 1)}:` : '-'.repeat(width + 2))).join('|')}|`, ...rows.map(line)].join('\n');
}
