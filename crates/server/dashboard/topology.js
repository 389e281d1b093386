// The map: this node in the middle, the others around it in order of name, always at the same places.

import { say, show, svg } from './dom.js';
import { between } from './links.js';

const WIDTH = 920;
const HEIGHT = 470;
const CENTRE = { x: WIDTH / 2, y: HEIGHT / 2 - 6 };
const AROUND = { x: 325, y: 150 };
/** With more nodes the islands are smaller. */
const FEW = 8;
const CORNERS = 11;

export class Topology {
  element = svg('svg', { class: 'map', viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: 'group', 'aria-label': 'Map of the nodes' });
  #names = '';
  #links = new Map();
  #others = new Map();
  #own = null;

  /** `own`: `{name, level, note}`; `links` as `linksOf` gives them. */
  update(own, links, onselect) {
    const names = JSON.stringify([own.name, ...links.map((link) => link.name)]);
    if (names !== this.#names) this.#draw(own, links, onselect);
    this.#names = names;
    this.#own.update(own.level, own.note, `${own.name}, this node: ${own.note}`);
    for (const link of links) {
      const drawn = this.#links.get(link.name);
      drawn.line.update(link.level, link.word);
      drawn.island.update(link.level, link.role ?? '', `${link.name}: ${link.word}`);
    }
    for (const { one, other, line } of this.#others.values()) {
      const state = between(links.find((link) => link.name === one), links.find((link) => link.name === other));
      line.update(state.level, state.word);
    }
  }

  #draw(own, links, onselect) {
    this.#links.clear();
    this.#others.clear();
    const size = links.length > FEW ? 30 : 46;
    const places = links.map((_, index) => place(index, links.length));
    const centre = links.length === 1 ? { x: WIDTH * 0.28, y: CENTRE.y } : centreOf(links.length);
    const lines = [];
    if (links.length <= FEW) {
      links.forEach((one, first) => links.slice(first + 1).forEach((other, more) => {
        const line = new Line(places[first], places[first + 1 + more], size, 'other');
        this.#others.set(`${one.name} ${other.name}`, { one: one.name, other: other.name, line });
        lines.push(line.element);
      }));
    }
    this.#own = new Island(own.name, centre, size * 1.15, 'own');
    const islands = [this.#own.element];
    links.forEach((link, index) => {
      const line = new Line(centre, places[index], size, 'direct');
      const island = new Island(link.name, places[index], size, '', () => onselect(link.name));
      this.#links.set(link.name, { line, island });
      lines.push(line.element);
      islands.push(island.element);
    });
    show(this.element, sea(), ...lines, ...islands);
  }
}

function centreOf(count) {
  return count === 2 ? { x: CENTRE.x, y: HEIGHT * 0.68 } : CENTRE;
}

function place(index, count) {
  if (count === 1) return { x: WIDTH * 0.72, y: CENTRE.y };
  const angle = count === 2 ? [Math.PI * 1.13, Math.PI * 1.87][index] : -Math.PI / 2 + (2 * Math.PI * index) / count;
  const middle = count === 2 ? { x: CENTRE.x, y: HEIGHT * 0.4 } : CENTRE;
  return { x: middle.x + AROUND.x * Math.cos(angle), y: middle.y + AROUND.y * Math.sin(angle) };
}

/** Depth lines, so that it looks like water. */
function sea() {
  const waves = [];
  for (let row = 0; row < 6; row += 1) {
    const y = 40 + row * 74;
    let path = `M-40 ${y}`;
    for (let x = -40; x < WIDTH + 40; x += 80) path += ` q 20 ${row % 2 ? 7 : -7} 40 0 t 40 0`;
    waves.push(svg('path', { class: 'wave', d: path }));
  }
  return svg('g', { 'aria-hidden': 'true' }, ...waves);
}

class Island {
  constructor(name, { x, y }, size, kind, onselect) {
    this.note = svg('text', { class: 'note', y: size + 42 });
    const interactive = onselect ? { tabindex: 0, role: 'button', onclick: onselect, onkeydown: (event) => event.key === 'Enter' && onselect() } : { role: 'img' };
    this.element = svg('g', { class: `island ${kind}`, 'data-node': name, transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`, ...interactive },
      svg('path', { class: 'shallow', d: coast(name, size * 1.42) }),
      svg('path', { class: 'beach', d: coast(name, size * 1.12) }),
      svg('path', { class: 'land', d: coast(name, size) }),
      svg('path', { class: 'height', d: coast(`${name}.`, size * 0.6) }),
      svg('path', { class: 'height', d: coast(`${name}.`, size * 0.28) }),
      svg('circle', { class: 'light', cx: size * 0.86, cy: -size * 0.86, r: 9 }),
      svg('text', { class: 'name', y: size + 24 }, shortened(name)),
      this.note);
    this.kind = kind;
  }

  update(level, note, label) {
    this.element.setAttribute('class', `island ${this.kind} ${level}`);
    this.element.setAttribute('aria-label', label);
    say(this.note, note);
  }
}

class Line {
  constructor(from, to, size, kind) {
    const middle = { x: (from.x + to.x) / 2, y: (from.y + to.y) / 2 };
    const [dx, dy] = [to.x - from.x, to.y - from.y];
    // Bent a little, as the routes of ships are on maps.
    const bend = kind === 'direct' ? 0.08 : -0.1;
    const top = { x: middle.x - dy * bend, y: middle.y + dx * bend };
    const at = { x: (middle.x + top.x) / 2, y: (middle.y + top.y) / 2 };
    this.kind = kind;
    this.text = svg('text', { class: 'word', x: at.x.toFixed(1), y: (at.y + 5).toFixed(1) });
    this.back = svg('rect', { class: 'back', y: (at.y - 13).toFixed(1), height: 26, rx: 13 });
    this.at = at;
    this.path = svg('path', { class: 'route', d: `M${from.x.toFixed(1)} ${from.y.toFixed(1)} Q${top.x.toFixed(1)} ${top.y.toFixed(1)} ${to.x.toFixed(1)} ${to.y.toFixed(1)}` });
    this.element = svg('g', { class: `link ${kind}`, 'aria-hidden': 'true' }, this.path, this.back, this.text);
  }

  update(level, word) {
    this.element.setAttribute('class', `link ${this.kind} ${level}`);
    say(this.text, word);
    const width = word ? word.length * 7.4 + 26 : 0;
    this.back.setAttribute('width', width);
    this.back.setAttribute('x', (this.at.x - width / 2).toFixed(1));
  }
}

/** A closed line around the middle, as uneven as its name has it. */
function coast(name, size) {
  let random = 2166136261;
  const next = () => {
    random = Math.imul(random ^ (random >>> 15), 2246822507) >>> 0;
    return random / 4294967296;
  };
  for (const character of name) random = Math.imul(random ^ character.codePointAt(0), 16777619) >>> 0;
  const points = Array.from({ length: CORNERS }, (_, corner) => {
    const angle = (2 * Math.PI * corner) / CORNERS;
    const radius = size * (0.78 + 0.34 * next());
    return [radius * 1.12 * Math.cos(angle), radius * 0.9 * Math.sin(angle)];
  });
  const middle = ([x1, y1], [x2, y2]) => `${((x1 + x2) / 2).toFixed(1)} ${((y1 + y2) / 2).toFixed(1)}`;
  const curves = points.map((point, corner) => `Q${point[0].toFixed(1)} ${point[1].toFixed(1)} ${middle(point, points[(corner + 1) % CORNERS])}`);
  return `M${middle(points[CORNERS - 1], points[0])} ${curves.join(' ')}Z`;
}

function shortened(name) {
  return name.length > 22 ? `${name.slice(0, 21)}…` : name;
}
