// Measures what live traffic notices of a sweep: requests at a steady rate before, while, and after `sessile sweep` removes
// many expired sessions. Started by `./bench sweep`, which builds what this starts.

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import { TARGET, admin, agent, connect, end, makeSession, median, optionsOf, say, send, start, startApp, table, urlOf } from './common.mjs';

const { expired, sessions, rate, seconds, rounds } = optionsOf({
  expired: 1_000_000, sessions: 5_000, rate: 300, seconds: 30, rounds: 1,
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

/// Requests at a steady rate until `until` is settled, each counted from the moment it was due: a stall is not forgiven by
/// the requests that it kept from being sent.
async function traffic(cookies, until) {
  const latencies = [];
  const open = [];
  let over = false;
  until.finally(() => { over = true; });
  const begun = performance.now();
  for (let n = 0; !over; n++) {
    const due = begun + n * 1000 / rate;
    const early = due - performance.now();
    if (early > 1) await sleep(early);
    const cookie = cookies[Math.floor(Math.random() * cookies.length)];
    const [method, path] = n % 4 ? ['GET', '/read?k=a'] : ['POST', '/incr?k=n'];
    open.push(send(app, method, path, cookie).then(() => { latencies.push(performance.now() - due); }));
  }
  await Promise.all(open);
  const sorted = latencies.toSorted((a, b) => a - b);
  const at = (share) => sorted[Math.floor(sorted.length * share)];
  return { requests: sorted.length, p50: at(0.5), p99: at(0.99), longest: sorted.at(-1) };
}

function swept() {
  const sweep = start(join(TARGET, 'release/sessile'), ['sweep', '--until-done', '--json'], { DATABASE_URL: app.url });
  let said = '';
  sweep.stdout.setEncoding('utf8').on('data', (chunk) => { said += chunk; });
  return new Promise((resolve, reject) => sweep.on('close', (code) => {
    if (code === 0) resolve(said.trim());
    else reject(new Error(`the sweep ended with ${code}: ${said}`));
  }));
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
  await traffic(cookies, sleep(5_000)); // Warm, and not counted.
  const before = await traffic(cookies, sleep(seconds * 1000));
  const begun = performance.now();
  const sweep = swept();
  const during = await traffic(cookies, sweep);
  const took = (performance.now() - begun) / 1000;
  say(`round ${round}: ${await sweep} in ${took.toFixed(1)} s`);
  const { rows: [{ left }] } = await client.query('SELECT count(*)::int AS left FROM session WHERE expire < now()');
  if (left !== 0) throw new Error(`${left} expired sessions were left`);
  const after = await traffic(cookies, sleep(seconds * 1000));
  results.push({ before, during, after, took, ratio: during.p99 / before.p99 });
}

console.log(`\n${expired} expired sessions swept beside ${rate} requests/s, a quarter of them writes, to ${sessions} live sessions\n`);
const ms = (value) => value.toFixed(1);
console.log(table(
  ['', 'requests', 'p50 ms', 'p99 ms', 'longest ms'],
  results.flatMap(({ before, during, after }, round) => Object.entries({ before, during, after }).map(([name, one]) => [
    `round ${round + 1}, ${name}`, one.requests, ms(one.p50), ms(one.p99), ms(one.longest),
  ])),
));
console.log(`\np99 while sweeping as a multiple of before: ${median(results.map(({ ratio }) => ratio)).toFixed(2)}x; ` +
  `the sweep took ${results.map(({ took }) => took.toFixed(0)).join(', ')} s\n`);
agent.destroy();
end(0);
