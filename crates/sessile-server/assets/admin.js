// Draws the overview's plots from the JSON API, in the page's own colours, and again when the window or the colour scheme
// changes. Without this script the page has the same figures as tables.

(() => {
  'use strict';

  const EVERY = 15_000;
  // A page that nobody looks at must not keep its operator signed in: then it is not refreshed any more.
  const UNATTENDED = 5 * 60_000;
  const HEIGHT = 220;
  const box = document.querySelector('[data-timeline]');
  if (!box || typeof uPlot === 'undefined') return;
  const problem = document.getElementById('plots-problem');
  const drawn = new Map();
  let last;

  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  // What each plot shows: label, field of a point, colour, dashes.
  const LINES = {
    active: [['Signed in', 'active', '--leaf']],
    events: [
      ['Sign-ins', 'signed_in', '--leaf'],
      ['Sign-outs', 'logged_out', '--blue', [6, 4]],
      ['Revoked', 'revoked', '--red', [2, 3]],
      ['Refused', 'refused', '--amber', [10, 3, 2, 3]],
    ],
    latency: [
      ['p50', 'p50_ms', '--leaf'],
      ['p99', 'p99_ms', '--amber', [6, 4]],
    ],
  };

  const seconds = (time) => Date.parse(time) / 1000;

  // A minute with answers between two without is a point, not a line.
  function series([label, field, name, dash]) {
    const stroke = colour(name);
    const points = { show: field.endsWith('_ms'), size: 7, fill: stroke };
    return { label, stroke, width: 2, dash, points, value: (_, value) => value ?? '–' };
  }

  function bars() {
    return { label: 'End', width: 0, fill: colour('--leaf'), paths: uPlot.paths.bars({ size: [0.8] }), points: { show: false } };
  }

  // Times in UTC, like everywhere on the page.
  const two = (number) => String(number).padStart(2, '0');
  const day = (at) => `${two(at.getUTCMonth() + 1)}-${two(at.getUTCDate())}`;
  const clock = (at) => `${two(at.getUTCHours())}:${two(at.getUTCMinutes())}`;
  const date = (seconds) => new Date(seconds * 1000);
  const moment = (_, at) => (at == null ? '–' : `${day(date(at))} ${clock(date(at))}`);
  const isLong = () => last.points.length > 1 && seconds(last.points[1].at) - seconds(last.points[0].at) > 3600;
  const ticks = (_, all) => all.map((at) => (isLong() ? day(date(at)) : clock(date(at))));

  // Sessions are whole.
  const WHOLE = [1, 2, 5].flatMap((first) => Array.from({ length: 8 }, (_, zeros) => first * 10 ** zeros)).sort((a, b) => a - b);

  function options(plot, all, time, whole) {
    const grid = { stroke: colour('--line'), width: 1 };
    const axis = { stroke: colour('--dim'), grid, ticks: grid };
    const xAxis = time ? { ...axis, values: ticks, space: 70 } : axis;
    return {
      width: Math.max(plot.clientWidth, 100),
      height: HEIGHT,
      tzDate: (at) => uPlot.tzDate(date(at), 'Etc/UTC'),
      scales: { x: { time }, y: { range: (_, low, high) => [0, Math.max(whole ? 4 : 1, (high ?? 0) * 1.1)] } },
      axes: [xAxis, { ...axis, size: 56, ...(whole ? { incrs: WHOLE } : {}) }],
      series: [time ? { label: 'From', value: moment } : { label: 'Minute' }, ...all],
    };
  }

  function draw(name, data, all, time) {
    const plot = box.querySelector(`[data-plot="${name}"]`);
    const isEmpty = data.slice(1).every((values) => values.every((value) => value == null));
    drawn.get(name)?.destroy();
    drawn.delete(name);
    plot.parentElement.classList.toggle('uncounted', isEmpty);
    if (!isEmpty) drawn.set(name, new uPlot(options(plot, all, time, name !== 'latency'), data, plot));
  }

  function redraw() {
    if (!last) return;
    box.hidden = false;
    const { points, expiring } = last;
    const at = points.map((point) => seconds(point.at));
    for (const [name, lines] of Object.entries(LINES)) {
      draw(name, [at, ...lines.map(([, field]) => points.map((point) => point[field]))], lines.map(series), true);
    }
    draw('expiring', [expiring.map((_, minute) => minute + 1), expiring], [bars()], false);
  }

  async function read(address) {
    const response = await fetch(address, { headers: { Accept: 'application/json' } });
    if (!response.ok) throw new Error(`the server answered ${response.status}`);
    return response.json();
  }

  function show(figures) {
    for (const cell of document.querySelectorAll('[data-figure]')) {
      const value = figures?.[cell.dataset.figure];
      if (value !== undefined) cell.textContent = value.toLocaleString('en');
    }
  }

  async function refresh() {
    try {
      const [timeline, overview] = await Promise.all([read(box.dataset.timeline), read(box.dataset.overview)]);
      last = { points: timeline.points, expiring: overview.figures?.expiring ?? [] };
      show(overview.figures);
      redraw();
      problem.hidden = true;
    } catch (error) {
      problem.textContent = `The figures could not be read: ${error.message}. They are tried again.`;
      problem.hidden = false;
    }
  }

  let waiting;
  addEventListener('resize', () => {
    clearTimeout(waiting);
    waiting = setTimeout(redraw, 150);
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
  let attended = Date.now();
  for (const sign of ['pointermove', 'pointerdown', 'keydown', 'scroll']) {
    addEventListener(sign, () => (attended = Date.now()), { passive: true });
  }
  setInterval(() => document.hidden || Date.now() - attended > UNATTENDED || refresh(), EVERY);
  refresh();
})();
