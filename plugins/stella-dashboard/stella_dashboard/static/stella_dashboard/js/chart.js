/* One objective over time: usage and demand beside what is guaranteed, a strip of statuses below, the same as a table. uPlot draws;
 * the keyboard, the words and the table are here. */

import {show} from './quantities.js';

const HEIGHT = 190;
const EDGE = 36;
const TABLE_ROWS = 60;
const LATE_SECONDS = 15; // what is older is not called now
const GAP_STEPS = 4; // a host reports late now and then
const COLOURS = {usage: '#0072b2', demand: '#cc79a7', floor: '#00735c', ceiling: '#8a4b00', axis: '#5c6670', grid: '#e6e8ea', change: '#1b1f23', halo: '#ffffff'};
const STRIP = { // told apart by height as well as by colour
  met: {colour: '#00735c', part: 0.45},
  missed: {colour: '#b83b00', part: 1},
  pending: {colour: '#0062a3', part: 0.3},
  idle: {colour: '#b9c0c6', part: 0.2},
  unknown: {colour: '#5c6670', part: 0.08},
};

let loading = null;

/** uPlot, loaded once. It is a classic script, as its authors ship it. */
function plotLibrary() {
  loading = loading || new Promise((resolve, reject) => {
    const base = new URL('../lib/uplot/', import.meta.url).href;
    const style = document.createElement('link');
    style.rel = 'stylesheet';
    style.href = `${base}uPlot.min.css`;
    document.head.append(style);
    const script = document.createElement('script');
    script.src = `${base}uPlot.iife.min.js`;
    script.onload = () => resolve(window.uPlot);
    script.onerror = reject;
    document.head.append(script);
  });
  return loading;
}

export class Chart {
  /** `section` has the places to draw in; `promises` are the steps of what is guaranteed, `changes` when it changed, the oldest first. */
  constructor(section, promises, changes, settings) {
    this.section = section;
    this.metric = section.dataset.stellaMetric;
    this.promises = promises;
    this.changes = changes;
    this.settings = settings;
    this.place = section.querySelector('[data-stella-chart]');
    this.strip = section.querySelector('[data-stella-strip]');
    this.reading = section.querySelector('[data-stella-reading]');
    this.rows = section.querySelector('[data-stella-rows]');
    this.columns = empty();
    this.indexes = [];
    this.step = 1;
    this.seconds = 900;
    this.plot = null;
    this.chosen = null;
    this.clock = new Intl.DateTimeFormat(settings.language, {
      timeZone: settings.zone, month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit',
    });
    this.place.addEventListener('keydown', (event) => this.key(event));
    this.rows.closest('details').addEventListener('toggle', () => this.fill());
    new ResizeObserver(() => this.resize()).observe(this.place);
  }

  /** Show these points instead: of a span of so many seconds that ends now, in steps of so many. */
  replace(columns, step, seconds) {
    this.columns = columns || empty();
    this.step = step;
    this.seconds = seconds;
    this.chosen = null;
    this.reading.textContent = '';
    this.draw();
  }

  /** Show these points too; those before the span go. A point that was there is replaced. */
  add(columns) {
    if (!columns || !columns.at.length) {
      return;
    }
    const known = this.columns;
    let keep = known.at.length;
    while (keep > 0 && known.at[keep - 1] >= columns.at[0]) {
      keep -= 1;
    }
    const oldest = columns.at[columns.at.length - 1] - this.seconds;
    let first = 0;
    while (first < keep && known.at[first] < oldest) {
      first += 1;
    }
    const merged = {};
    for (const name of Object.keys(known)) {
      merged[name] = known[name].slice(first, keep).concat(columns[name]);
    }
    this.chosen = this.chosen === null ? null : Math.max(0, this.chosen - first);
    this.columns = merged;
    this.draw();
  }

  /** What is drawn: where nothing is known for a while there is a gap. `indexes` leads from what is drawn to the points. */
  data() {
    const {at, length, usage, demand} = this.columns;
    const drawn = [[], [], [], [], []];
    this.indexes = [];
    at.forEach((time, index) => {
      const ended = index > 0 ? at[index - 1] + length[index - 1] - this.step : time;
      if (time - ended > GAP_STEPS * this.step) {
        [time - this.step, null, null, null, null].forEach((value, row) => drawn[row].push(value));
        this.indexes.push(index);
      }
      [time, usage[index], demand[index], this.promised(time, 'floor'), this.promised(time, 'ceiling')]
        .forEach((value, row) => drawn[row].push(value));
      this.indexes.push(index);
    });
    return drawn;
  }

  promised(time, key) {
    let found = null;
    for (const promise of this.promises) {
      if (promise.since > time + this.step) {
        break;
      }
      found = promise[key];
    }
    return found;
  }

  async draw() {
    if (!this.plot) {
      const library = await plotLibrary();
      if (!this.plot) {
        this.plot = new library(this.options(library), this.data(), this.place);
      }
    }
    this.plot.setData(this.data());
    const word = this.section.dataset.stellaEmptyWord;
    if (!this.columns.at.length || this.reading.textContent === word) {
      this.reading.textContent = this.columns.at.length ? '' : word;
    }
    this.fill();
    this.tellNow();
  }

  /** With live seconds the status and the tile of what is used now are those of the newest. */
  tellNow() {
    const {at, usage, demand, status, cause} = this.columns;
    const last = at.length - 1;
    if (this.step !== 1 || last < 0 || Date.now() / 1000 - at[last] > LATE_SECONDS) {
      return;
    }
    const badge = this.section.querySelector('[data-stella-status]');
    const why = this.section.querySelector('[data-stella-cause]');
    const asks = this.section.querySelector('[data-stella-asks]');
    badge.className = `stella-status stella-${this.settings.words.classes[status[last]] || 'unknown'}`;
    badge.textContent = this.settings.words.statuses[status[last]] || status[last];
    badge.title = '';
    why.textContent = cause[last] ? why.dataset.stellaCause.replace('%s', cause[last]) : '';
    this.section.querySelector('[data-stella-used]').textContent = show(this.metric, usage[last]);
    const costs = this.section.querySelector('[data-stella-costs]');
    if (costs) {
      costs.textContent = show('cpu', usage[last] === null ? null : usage[last] * Number(costs.dataset.stellaCosts));
    }
    asks.textContent = demand[last] === null ? '' : asks.dataset.stellaAsks.replace('%s', show(this.metric, demand[last]));
  }

  options(library) {
    const words = this.section.dataset;
    const quantity = (_, value) => show(this.metric, value);
    const line = (label, colour, more) => ({label, stroke: colour, width: 1.5, value: quantity, points: {show: false}, ...more});
    return {
      width: this.place.clientWidth || 600,
      height: HEIGHT,
      tzDate: (time) => library.tzDate(new Date(time * 1000), this.settings.zone),
      padding: [null, EDGE, null, null], // the last label of time stands half beyond the last point
      cursor: {drag: {x: false, y: false}},
      legend: {mount: (_, legend) => this.section.querySelector('[data-stella-legend]').append(legend)},
      scales: {x: {range: (_, least, most) => this.range(most)}, y: {range: (_, least, most) => [0, (most || 1) * 1.1]}},
      axes: [
        {stroke: COLOURS.axis, grid: {stroke: COLOURS.grid}, space: 90, size: 32, values: (_, times) => times.map((time) => this.tick(time))},
        {stroke: COLOURS.axis, grid: {stroke: COLOURS.grid}, size: 84, values: (_, values) => values.map((value) => show(this.metric, value))},
      ],
      series: [
        {label: words.stellaTimeWord, value: (_, time) => (time === null ? '' : this.clock.format(time * 1000))},
        line(words.stellaUsageWord, COLOURS.usage, {fill: 'rgba(0, 114, 178, .12)'}),
        line(words.stellaDemandWord, COLOURS.demand, {dash: [4, 3]}),
        line(words.stellaFloorWord, COLOURS.floor, {width: 2, dash: [10, 3]}),
        line(words.stellaCeilingWord, COLOURS.ceiling, {width: 2, dash: [2, 2]}),
      ],
      hooks: {draw: [(plot) => this.drawStrip(plot)], setCursor: [(plot) => { if (plot.cursor.idx !== null && plot.cursor.left >= 0) { this.tell(this.indexes[plot.cursor.idx], false); } }]},
    };
  }

  /** The span that is shown ends with the newest point, or now where there is none. */
  range(newest) {
    const end = this.columns.at.length ? newest : Date.now() / 1000;
    return [end - this.seconds, end];
  }

  tick(time) {
    const options = this.step >= 3600
      ? {month: 'short', day: 'numeric'}
      : {hour: '2-digit', minute: '2-digit'};
    return new Intl.DateTimeFormat(this.settings.language, {timeZone: this.settings.zone, ...options}).format(time * 1000);
  }

  /** Where each point stands in the strip: below its place in the chart. */
  drawStrip(plot) {
    const {at, length, status} = this.columns;
    const scale = window.devicePixelRatio || 1;
    const width = this.place.clientWidth;
    const height = 14;
    this.strip.width = width * scale;
    this.strip.height = height * scale;
    const context = this.strip.getContext('2d');
    context.scale(scale, scale);
    const edge = plot.bbox.left / scale;
    const end = edge + plot.bbox.width / scale;
    const whole = (place) => Math.round(place * scale) / scale; // parts of pixels would make stripes
    at.forEach((time, index) => {
      const left = whole(Math.max(edge + plot.valToPos(time, 'x'), edge));
      const right = whole(Math.min(edge + plot.valToPos(time + length[index], 'x'), end));
      const look = STRIP[this.settings.words.classes[status[index]] || 'unknown'];
      context.fillStyle = look.colour;
      context.fillRect(left, height * (1 - look.part), Math.max(1, right - left), height * look.part);
    });
    for (const change of at.length ? this.changes : []) {
      const place = whole(edge + plot.valToPos(change.at, 'x'));
      if (place >= edge && place <= end) {
        context.fillStyle = COLOURS.halo;
        context.fillRect(place - 2, 0, 5, height);
        context.fillStyle = COLOURS.change;
        context.fillRect(place - 1, 0, 3, height);
      }
    }
  }

  resize() {
    if (this.plot && this.place.clientWidth) {
      this.plot.setSize({width: this.place.clientWidth, height: HEIGHT});
    }
  }

  key(event) {
    const last = this.columns.at.length - 1;
    const from = this.chosen === null ? last + 1 : this.chosen;
    const next = {ArrowLeft: from - 1, ArrowRight: from + 1, PageUp: from - 60, PageDown: from + 60, Home: 0, End: last}[event.key];
    if (next === undefined || last < 0) {
      return;
    }
    event.preventDefault();
    const index = Math.max(0, Math.min(last, next));
    this.tell(index, true);
    this.plot.setCursor({left: this.plot.valToPos(this.columns.at[index], 'x'), top: 10}, false);
  }

  /** Say the point in words. With the mouse the words stand in the legend, and nothing is read aloud. */
  tell(index, aloud) {
    this.chosen = index;
    if (aloud) {
      this.reading.textContent = this.words(index).join(' \u00b7 ');
    }
  }

  words(index) {
    const {at, length, usage, demand, status, cause} = this.columns;
    const changes = this.changes.filter((one) => one.at >= at[index] && one.at < at[index] + length[index]);
    return [
      this.clock.format(at[index] * 1000),
      `${this.section.dataset.stellaUsageWord} ${show(this.metric, usage[index])}`,
      `${this.section.dataset.stellaDemandWord} ${show(this.metric, demand[index])}`,
      this.settings.words.statuses[status[index]] || status[index],
      cause[index],
      ...changes.map((one) => one.text),
    ].filter((word) => word !== '');
  }

  /** The newest points as rows, while somebody looks at them. */
  fill() {
    if (!this.rows.closest('details').open) {
      return;
    }
    const {at, usage, demand, status, cause} = this.columns;
    const fresh = document.createDocumentFragment();
    for (let index = at.length - 1; index >= Math.max(0, at.length - TABLE_ROWS); index -= 1) {
      const row = document.createElement('tr');
      const cells = [
        [this.clock.format(at[index] * 1000), ''],
        [show(this.metric, usage[index]), 'stella-number'],
        [show(this.metric, demand[index]), 'stella-number'],
        [this.settings.words.statuses[status[index]] || status[index], ''],
        [cause[index], ''],
      ];
      for (const [text, kind] of cells) {
        const cell = document.createElement('td');
        cell.textContent = text;
        cell.className = kind;
        row.append(cell);
      }
      fresh.append(row);
    }
    this.rows.replaceChildren(fresh);
  }
}

function empty() {
  return {at: [], length: [], usage: [], demand: [], status: [], cause: []};
}
