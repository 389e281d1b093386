// A small picture of the last minutes of a link: how much was late, and when nothing was heard.

import { svg } from './dom.js';
import { HISTORY_MAX } from './watch.js';

const WIDTH = 240;
const HEIGHT = 40;
/** A lag of so many events fills a picture that had no greater one. */
const TOP_MIN = 4;

export function sparkline(history, label) {
  const step = WIDTH / (HISTORY_MAX - 1);
  const begin = WIDTH - (history.length - 1) * step;
  const top = Math.max(TOP_MIN, ...history.map((sample) => sample.events));
  const x = (index) => (begin + index * step).toFixed(1);
  const y = (events) => (HEIGHT - 3 - (events / top) * (HEIGHT - 8)).toFixed(1);
  const points = history.map((sample, index) => `${x(index)},${y(sample.events)}`);
  const silences = runs(history, (sample) => sample.level === 'bad').map(([first, last]) => svg('rect', {
    class: 'silence', x: x(first - 0.5), y: 0, width: ((last - first + 1) * step).toFixed(1), height: HEIGHT,
  }));
  const area = `${x(0)},${HEIGHT} ${points.join(' ')} ${x(history.length - 1)},${HEIGHT}`;
  const level = history.at(-1)?.level ?? 'off';
  return svg('svg', { class: `sparkline ${level}`, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'img', 'aria-label': label, preserveAspectRatio: 'none' },
    ...silences,
    svg('line', { class: 'base', x1: 0, x2: WIDTH, y1: HEIGHT - 3, y2: HEIGHT - 3 }),
    svg('polygon', { class: 'area', points: area }),
    svg('polyline', { class: 'line', points: points.join(' ') }));
}

/** The stretches for which something holds: first and last index. */
function runs(history, holds) {
  const found = [];
  history.forEach((sample, index) => {
    if (!holds(sample)) return;
    const run = found.at(-1);
    if (run && run[1] === index - 1) run[1] = index;
    else found.push([index, index]);
  });
  return found;
}
