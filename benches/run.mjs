// Measures Sessile, tower-sessions and express-session over one PostgreSQL, in turns. Started by `./bench`, which builds
// what this starts and names the server in SESSILE_TEST_POSTGRES.

import { readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import {
  TARGET, VALUE, admin, agent, connect, end, file, folder, makeSession, median, optionsOf, say, send, start, startApp, table,
  urlOf,
} from './common.mjs';

const options = optionsOf({ seconds: 5, rounds: 3, connections: 64, sessions: 20_000, only: '' });
const { seconds, rounds, connections, sessions } = options;

// ---- what is compared ----

const BASE = 'tower-sessions';
const CONTENDERS = [
  {
    name: 'sessile',
    start: (url) => [join(TARGET, 'release/examples/conformance'), ['--store', url]],
    // Statements of one request: the design's promise.
    promise: { anon: 0, forged: 0, read: 1, write: 2 },
  },
  {
    name: 'tower-sessions',
    start: (url) => [join(TARGET, 'peers/release/sessile-bench-peer'), [url]],
  },
  {
    name: 'express-session',
    start: (url) => [process.execPath, [file('interop/express-app.mjs'), JSON.stringify({
      database: url,
      secrets: ['keyboard cat keyboard cat keyboard cat'],
      resave: false,
      saveUninitialized: false,
      createTableIfMissing: true,
      cookie: { maxAge: 86_400_000 },
    })]],
  },
].filter(({ name }) => name === BASE || options.only === '' || options.only.split(',').includes(name));

// Writes go before reads, and so most sessions are fresh when reads are measured: a burst of touches for sessions that
// rested while the other contenders had their turn would measure the bench, not the library.
const OPERATIONS = [
  { name: 'anon', title: 'anonymous', method: 'GET', path: '/anon' },
  { name: 'write', title: 'write', method: 'POST', path: '/incr?k=n', cookies: true },
  { name: 'read', title: 'read', method: 'GET', path: '/read?k=a', cookies: true },
];

// ---- PostgreSQL: one database each, counted by pg_stat_statements and /proc ----

await admin.query('CREATE EXTENSION pg_stat_statements');
const { rows: [{ pid: backend }] } = await admin.query('SELECT pg_backend_pid() AS pid');
const stat = (pid) => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ').map(Number);
const postmaster = stat(backend)[1];

async function statements(database) {
  const { rows } = await admin.query(
    'SELECT coalesce(sum(calls), 0)::float8 AS calls FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid WHERE datname = $1',
    [database],
  );
  return rows[0].calls;
}

/// CPU time in microseconds: user and system, and for the server that of all its processes, ended ones included.
function cpu(pid, { family = false } = {}) {
  const ticks = (fields, first, last) => fields.slice(first, last).reduce((sum, n) => sum + n, 0);
  let sum = ticks(stat(pid), 11, family ? 15 : 13);
  for (const entry of family ? readdirSync('/proc') : []) {
    try {
      const fields = /^\d+$/.test(entry) && stat(entry);
      if (fields && fields[1] === pid) sum += ticks(fields, 11, 13);
    } catch {
      // It ended while we looked.
    }
  }
  return sum * 10_000;
}

// ---- requests of our own: making sessions, and the count of statements ----

async function makeSessions(contender) {
  say(`${contender.name}: ${sessions} sessions`);
  const cookies = [];
  let left = sessions;
  const worker = async () => {
    while (left-- > 0) cookies.push(await makeSession(contender));
  };
  await Promise.all(Array.from({ length: 16 }, worker));
  contender.cookies = join(folder, `${contender.name}.cookies`);
  writeFileSync(contender.cookies, cookies.map((cookie) => `${cookie}\n`).join(''));
  return cookies;
}

/// How many statements one request of each kind is, counted without load; and that sessions are really read.
async function count(contender, cookies) {
  const forged = cookies.map((cookie) => cookie.slice(0, -8) + 'AAAAAAAA');
  const kinds = {
    anon: (n) => send(contender, 'GET', '/anon', cookies[n]),
    forged: (n) => send(contender, 'GET', '/read?k=a', forged[n]),
    read: (n) => send(contender, 'GET', '/read?k=a', cookies[n]),
    write: (n) => send(contender, 'POST', '/incr?k=n', cookies[n]),
  };
  const wanted = { read: VALUE, forged: null, write: 1 };
  const times = Math.min(200, cookies.length);
  contender.statements = {};
  for (const [kind, one] of Object.entries(kinds)) {
    const before = await statements(contender.database);
    for (let n = 0; n < times; n++) {
      const { body } = await one(n);
      if (kind in wanted && JSON.parse(body).value !== wanted[kind]) {
        throw new Error(`${contender.name}: a ${kind} answered ${body}`);
      }
    }
    const each = (await statements(contender.database) - before) / times;
    contender.statements[kind] = each;
    const promised = contender.promise?.[kind] ?? each;
    if (each !== promised) {
      throw new Error(`${contender.name}: ${each} statements for a request (${kind}), ${promised} promised`);
    }
  }
}

// ---- load ----

async function wrk(contender, operation, duration) {
  const args = ['-t1', `-c${connections}`, `-d${duration}s`, '-s', file('benches/wrk.lua'), contender.address, '--'];
  args.push(operation.cookies ? contender.cookies : '-', operation.method, operation.path);
  const child = start('wrk', args);
  const closed = new Promise((resolve) => child.on('close', resolve));
  let output = '';
  for await (const chunk of child.stdout.setEncoding('utf8')) output += chunk;
  const code = await closed;
  const line = output.split('\n').find((text) => text.startsWith('{'));
  const result = line && JSON.parse(line);
  if (code !== 0 || !result || result.refused || result.broken || !result.requests) {
    throw new Error(`${contender.name}: ${operation.method} ${operation.path} did not go well:\n${output}`);
  }
  return result;
}

async function measure(contender, operation) {
  await wrk(contender, operation, 1);
  const look = async () => {
    // What wrk left unanswered ends first: the CPU time of a connection that closes meanwhile would count twice or never.
    await sleep(300);
    return {
      statements: await statements(contender.database),
      server: cpu(postmaster, { family: true }),
      app: cpu(contender.pid),
    };
  };
  const before = await look();
  const result = await wrk(contender, operation, seconds);
  const after = await look();
  const each = (name) => (after[name] - before[name]) / result.requests;
  return {
    rate: result.requests / (result.microseconds / 1e6),
    p50: result.p50,
    p99: result.p99,
    statements: each('statements'),
    server: each('server'),
    app: each('app'),
  };
}

// ---- the tables ----

function report() {
  const samples = (contender, operation, what) => contender.samples[operation.name].map((sample) => sample[what]);
  const mid = (contender, operation, what) => median(samples(contender, operation, what));
  const base = CONTENDERS.find(({ name }) => name === BASE);
  const ratio = (contender, operation) => {
    // Each round against the same round: what else the machine did concerned both.
    const ours = samples(contender, operation, 'rate');
    return median(samples(base, operation, 'rate').map((rate, round) => ours[round] / rate));
  };
  const load = `${connections} connections, ${sessions} sessions, medians of ${rounds} rounds of ${seconds} s`;

  console.log(`\nRequests per second as a multiple of ${BASE} (${load})\n`);
  const order = OPERATIONS.toReversed();
  console.log(table(
    ['', ...order.map(({ title }) => title)],
    CONTENDERS.map((contender) => [contender.name, ...order.map((operation) => `${ratio(contender, operation).toFixed(2)}x`)]),
  ));

  console.log('\nStatements per request, counted without load\n');
  const kinds = ['anon', 'forged', 'read', 'write'];
  console.log(table(
    ['', 'anonymous', 'forged cookie', 'read', 'write'],
    CONTENDERS.map((contender) => [contender.name, ...kinds.map((kind) => contender.statements[kind])]),
  ));

  console.log('\nOn this machine\n');
  console.log(table(
    ['', 'requests/s', 'lowest', 'highest', 'p50 µs', 'p99 µs', 'statements', 'PostgreSQL CPU µs', 'app CPU µs'],
    order.flatMap((operation) => CONTENDERS.map((contender) => {
      const rates = samples(contender, operation, 'rate');
      const whole = (what) => Math.round(mid(contender, operation, what));
      return [
        `${operation.title}, ${contender.name}`,
        ...[median(rates), Math.min(...rates), Math.max(...rates)].map(Math.round),
        whole('p50'), whole('p99'),
        mid(contender, operation, 'statements').toFixed(2),
        mid(contender, operation, 'server').toFixed(1),
        mid(contender, operation, 'app').toFixed(1),
      ];
    })),
  ));
}

// ---- the run ----

for (const contender of CONTENDERS) {
  contender.database = contender.name.replaceAll('-', '_');
  contender.url = urlOf(contender.database);
  contender.samples = Object.fromEntries(OPERATIONS.map(({ name }) => [name, []]));
  await admin.query(`CREATE DATABASE ${contender.database}`);
  await startApp(contender);
  await count(contender, await makeSessions(contender));
  contender.client = await connect(contender.database);
}
agent.destroy();

for (let round = 1; round <= rounds; round++) {
  // Who comes first changes, so that no one is always measured on what another one left to be written down.
  const shift = (round - 1) % CONTENDERS.length;
  for (const contender of [...CONTENDERS.slice(shift), ...CONTENDERS.slice(0, shift)]) {
    await contender.client.query('VACUUM ANALYZE');
    await admin.query('CHECKPOINT');
    for (const operation of OPERATIONS) {
      const sample = await measure(contender, operation);
      contender.samples[operation.name].push(sample);
      say(`round ${round}: ${contender.name}, ${operation.title}: ${Math.round(sample.rate)}/s`);
    }
  }
}
report();
end(0);
