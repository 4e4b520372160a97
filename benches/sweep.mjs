// Measures what live traffic notices of a sweep: requests at a steady rate before, while, and after `sessile sweep` removes
// many expired sessions. Started by `./bench sweep`, which builds what this starts.

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { TARGET, admin, agent, connect, end, makeSession, median, optionsOf, say, send, start, startApp, table, urlOf } from './common.mjs';

/// How long the sweep runs, and pauses, in turns.
const TURN = 10_000;

const { expired, sessions, rate, seconds, rounds, batch } = optionsOf({
  expired: 1_000_000, sessions: 5_000, rate: 300, seconds: 20, rounds: 3, batch: 100,
});

const DATABASE = 'swept';
const app = {
  name: 'sessile',
  url: urlOf(DATABASE),
  start: (url) => [join(TARGET, 'release/examples/conformance'), ['--store', url, '--sweep', '0']],
};

/// Sessions that ended over the last week, as large as the live ones; every second one had a user.
async function plant(client, round) {
  say(`round ${round}: ${expired} expired sessions`);
  const { rows: [{ sess }] } = await client.query('SELECT sess::text FROM session WHERE expire > now() LIMIT 1');
  const values = [expired, sess, `gone-${round}-`];
  await client.query(
    `INSERT INTO session (sid, sess, expire)
     SELECT $3 || n, $2::json, now() - interval '1 minute' - (n % 10000) * interval '1 minute' FROM generate_series(1, $1::int) n`,
    values,
  );
  await client.query(
    `INSERT INTO sessions (id, sid, user_id, status, created_at, updated_at, last_seen_at, expires_at)
     SELECT gen_random_uuid(), $2 || n, 'user-' || n % 1000, 'active', now() - interval '8 days', now() - interval '8 days', now() - interval '8 days',
            now() - interval '1 minute' FROM generate_series(1, $1::int, 2) n`,
    [expired, values[2]],
  );
  await client.query('VACUUM ANALYZE');
  await admin.query('CHECKPOINT');
}

/// The latencies of requests at a steady rate for so long, or until `over` says so; each counted from the moment it was due:
/// a stall is not forgiven by the requests that it kept from being sent.
async function traffic(cookies, span, over = () => false) {
  const latencies = [];
  const open = [];
  const begun = performance.now();
  for (let n = 0; !over() && performance.now() - begun < span; n++) {
    const due = begun + n * 1000 / rate;
    const early = due - performance.now();
    if (early > 1) await sleep(early);
    const cookie = cookies[Math.floor(Math.random() * cookies.length)];
    const [method, path] = n % 4 ? ['GET', '/read?k=a'] : ['POST', '/incr?k=n'];
    open.push(send(app, method, path, cookie).then(() => { latencies.push(performance.now() - due); }));
  }
  await Promise.all(open);
  return latencies;
}

function figures(latencies) {
  const sorted = latencies.toSorted((a, b) => a - b);
  const at = (share) => sorted[Math.floor(sorted.length * share)];
  return { requests: sorted.length, p50: at(0.5), p99: at(0.99), longest: sorted.at(-1) };
}

/// The command. It may be ended at any time: what it has removed is removed.
function sweeping() {
  const words = ['sweep', '--until-done', '--json', '--batch', String(batch)];
  const child = start(join(TARGET, 'release/sessile'), words, { DATABASE_URL: app.url });
  child.stdout.resume();
  const sweep = { isDone: false, ended: null, end: () => child.kill() };
  sweep.ended = new Promise((resolve, reject) => child.on('close', (code, signal) => {
    sweep.isDone = code === 0;
    if (sweep.isDone || signal) resolve();
    else reject(new Error(`the sweep ended with ${code}`));
  }));
  return sweep;
}

/// Traffic beside a sweep that goes on every other turn: so that what else the machine and the database do falls on the
/// time with a sweep and on the time without alike.
async function turns(cookies) {
  const [paused, swept] = [[], []];
  let took = 0;
  for (;;) {
    const [sweep, begun] = [sweeping(), performance.now()];
    swept.push(...await traffic(cookies, TURN, () => sweep.isDone));
    took += performance.now() - begun;
    sweep.end();
    await sweep.ended;
    if (sweep.isDone) return { paused, swept, took: took / 1000 };
    await traffic(cookies, 500); // What it had begun ends.
    paused.push(...await traffic(cookies, TURN));
  }
}

await admin.query(`CREATE DATABASE ${DATABASE}`);
await startApp(app);
const client = await connect(DATABASE);
say(`${sessions} live sessions`);
const cookies = [];
for (let n = 0; n < sessions; n += 16) {
  cookies.push(...await Promise.all(Array.from({ length: 16 }, () => makeSession(app))));
}

const results = [];
for (let round = 1; round <= rounds; round++) {
  await plant(client, round);
  await traffic(cookies, 5_000); // Warm, and not counted.
  const before = await traffic(cookies, seconds * 1000);
  const { paused, swept, took } = await turns(cookies);
  const { rows: [{ left }] } = await client.query('SELECT count(*)::int AS left FROM session WHERE expire < now()');
  if (left !== 0) throw new Error(`${left} expired sessions were left`);
  const after = await traffic(cookies, seconds * 1000);
  const [quiet, during] = [figures(paused), figures(swept)];
  results.push({ parts: { before: figures(before), paused: quiet, sweeping: during, after: figures(after) }, took, ratio: during.p99 / quiet.p99 });
}

console.log(`\n${expired} expired sessions swept beside ${rate} requests/s, a quarter of them writes, to ${sessions} live sessions\n`);
const ms = (value) => value.toFixed(1);
console.log(table(
  ['', 'requests', 'p50 ms', 'p99 ms', 'longest ms'],
  results.flatMap(({ parts }, round) => Object.entries(parts).map(([name, one]) => [
    `round ${round + 1}, ${name}`, one.requests, ms(one.p50), ms(one.p99), ms(one.longest),
  ])),
));
const ratios = results.map(({ ratio }) => ratio);
console.log(`\np99 while sweeping as a multiple of p99 while the sweep paused: ${median(ratios).toFixed(2)}x ` +
  `(${ratios.map((ratio) => ratio.toFixed(2)).join(', ')}); the sweep ran for ${results.map(({ took }) => took.toFixed(0)).join(', ')} s\n`);
agent.destroy();
end(0);
