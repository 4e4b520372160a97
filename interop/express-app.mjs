// A real Express application over the real express-session and connect-pg-simple, with the
// routes of Sessile's conformance app, so that the interop tests can drive both alike.
//
//   node express-app.mjs '{"database": "postgres://…", "secrets": ["…"], …}'
//
// Prints "listening on http://127.0.0.1:PORT" on stdout. Ends on SIGTERM and when stdin closes:
// start it with stdin as an open pipe, for with /dev/null it ends at once.

import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import connectPgSimple from 'connect-pg-simple';
import express from 'express';
import session from 'express-session';
import pg from 'pg';

// ---- configuration: one JSON argument; what it leaves out keeps the libraries' own default ----

const FIELDS = [
  'port', 'database', 'table', 'schema', 'secrets', 'name', 'cookie', 'resave', 'saveUninitialized',
  'rolling', 'unset', 'trustProxy', 'ttl', 'disableTouch', 'createTableIfMissing', 'pgOptions',
];

function fail(message) {
  console.error(`express-app: ${message}`);
  process.exit(2);
}

function readConfig(args) {
  if (args.length !== 1) fail('one argument expected: the configuration as JSON');
  let config;
  try {
    config = JSON.parse(args[0]);
  } catch (error) {
    fail(`the configuration is not JSON: ${error.message}`);
  }
  if (config === null || typeof config !== 'object' || Array.isArray(config)) fail('the configuration is not an object');
  // A mistyped field would quietly test something else.
  for (const field of Object.keys(config)) if (!FIELDS.includes(field)) fail(`unknown field "${field}"`);
  if (typeof config.database !== 'string') fail('"database" is missing');
  if (config.secrets === undefined) fail('"secrets" is missing');
  return config;
}

// A string is used as it is, {"hex": "00ff"} as raw bytes.
function toSecret(secret) {
  if (typeof secret === 'string') return secret;
  const hex = secret?.hex;
  if (typeof hex !== 'string' || !/^([0-9a-f]{2})*$/i.test(hex)) fail('a secret is a string or {"hex": "…"}');
  return Buffer.from(hex, 'hex');
}

function toCookie(cookie) {
  if (typeof cookie?.expires !== 'string') return cookie;
  return { ...cookie, expires: new Date(cookie.expires) };
}

// Leaves undefined fields out: to these libraries "given as undefined" is not always "not given".
const given = (options) => Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));

const config = readConfig(process.argv.slice(2));

// ---- application ----

const pool = new pg.Pool(given({ connectionString: config.database, options: config.pgOptions }));
// Without a listener, the loss of an idle connection would end the process.
pool.on('error', (error) => console.error(`express-app: idle connection: ${error.message}`));

const store = new (connectPgSimple(session))(given({
  pool,
  tableName: config.table,
  schemaName: config.schema,
  ttl: config.ttl,
  disableTouch: config.disableTouch,
  createTableIfMissing: config.createTableIfMissing,
  pruneSessionInterval: false,
}));

const app = express();
if (config.trustProxy !== undefined) app.set('trust proxy', config.trustProxy);

// Before the session middleware: nothing is loaded, touched or sent here, whatever the configuration.
app.get('/anon', (req, res) => {
  res.send('ok');
});

app.use(session(given({
  store,
  secret: [config.secrets].flat().map(toSecret),
  name: config.name,
  cookie: toCookie(config.cookie),
  resave: config.resave,
  saveUninitialized: config.saveUninitialized,
  rolling: config.rolling,
  unset: config.unset,
})));

const OK = { ok: true };

function param(req, name) {
  const value = req.query[name];
  if (typeof value !== 'string') throw new Error(`query parameter "${name}" is missing or repeated`);
  return value;
}

function milliseconds(req) {
  const text = param(req, 'ms');
  if (!/^-?\d+$/.test(text)) throw new Error('query parameter "ms" is not a whole number');
  return Number(text);
}

function dataOf(req) {
  const { cookie, ...data } = req.session;
  return data;
}

// Only data: not `cookie`, not `id`, `req` or a method.
function valueOf(req, key) {
  const data = dataOf(req);
  return Object.hasOwn(data, key) ? data[key] : undefined;
}

// The methods of a session take a callback. `this` is the session the request has at the time.
function call(req, method) {
  return new Promise((resolve, reject) => {
    req.session[method]((error) => (error ? reject(error) : resolve()));
  });
}

async function regenerateKeepingData(req) {
  const data = dataOf(req);
  await call(req, 'regenerate');
  Object.assign(req.session, data);
}

app.get('/read', (req, res) => {
  res.json({ value: valueOf(req, param(req, 'k')) ?? null });
});

app.get('/data', (req, res) => {
  res.json(dataOf(req));
});

app.post('/set', (req, res) => {
  req.session[param(req, 'k')] = param(req, 'v');
  res.json(OK);
});

// Read as text: express.json() takes an empty body for {}.
app.post('/set-json', express.text({ type: () => true, limit: '16mb' }), (req, res) => {
  req.session[param(req, 'k')] = JSON.parse(req.body);
  res.json(OK);
});

app.post('/incr', (req, res) => {
  const key = param(req, 'k');
  const before = valueOf(req, key) ?? 0;
  if (typeof before !== 'number') throw new Error(`"${key}" is not a number`);
  req.session[key] = before + 1;
  res.json({ value: before + 1 });
});

app.post('/remove', (req, res) => {
  delete req.session[param(req, 'k')];
  res.json(OK);
});

// The middleware has loaded the session before a handler runs; the wait is between load and edit.
app.post('/slow-set', async (req, res) => {
  const [key, value] = [param(req, 'k'), param(req, 'v')];
  await sleep(milliseconds(req));
  req.session[key] = value;
  res.json(OK);
});

app.get('/slow-read', async (req, res) => {
  await sleep(milliseconds(req));
  res.json(dataOf(req));
});

app.post('/login', async (req, res) => {
  const user = param(req, 'user');
  await regenerateKeepingData(req);
  req.session.userId = user;
  await call(req, 'save');
  res.json({ user });
});

app.post('/logout', async (req, res) => {
  await call(req, 'destroy');
  res.json(OK);
});

app.post('/regenerate', async (req, res) => {
  await regenerateKeepingData(req);
  res.json(OK);
});

app.get('/whoami', (req, res) => {
  const user = valueOf(req, 'userId') ?? null;
  if (user === null) res.status(401).json({ error: 'not signed in' });
  else res.json({ user });
});

app.post('/max-age', (req, res) => {
  req.session.cookie.maxAge = param(req, 'ms') === 'null' ? null : milliseconds(req);
  res.json(OK);
});

// What connect-flash does in req.flash(kind, text).
app.post('/flash', (req, res) => {
  const [kind, text] = [param(req, 'kind'), param(req, 'text')];
  const messages = (req.session.flash ??= {});
  (messages[kind] ??= []).push(text);
  res.json(OK);
});

app.get('/sid', (req, res) => {
  res.json({ sid: req.sessionID ?? null });
});

// Four parameters, all needed: that is how Express knows an error handler.
app.use((error, req, res, next) => {
  // A save that failed at the end of a response arrives here after the headers: as usual, Express's own.
  if (res.headersSent) return next(error);
  res.status(500).json({ error: error.message || String(error.code ?? error) });
});

// ---- life ----

const server = createServer(app);
// Longer than a client keeps a connection in its pool, else its next request may meet a closing one.
server.keepAliveTimeout = 65_000;

let stopping = false;
function stop() {
  if (stopping) return;
  stopping = true;
  setTimeout(() => process.exit(0), 2_000);
  // Requests under way are finished; the connections they leave behind are closed, not waited for.
  setInterval(() => server.closeIdleConnections(), 20);
  server.close(async () => {
    store.close();
    await pool.end();
    process.exit(0);
  });
}
process.on('SIGTERM', stop);
process.on('SIGINT', stop);
for (const event of ['end', 'close', 'error']) process.stdin.on(event, stop);
process.stdin.resume();

server.on('error', (error) => {
  console.error(`express-app: ${error.message}`);
  process.exit(1);
});
server.listen(config.port ?? 0, '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${server.address().port}`);
});
