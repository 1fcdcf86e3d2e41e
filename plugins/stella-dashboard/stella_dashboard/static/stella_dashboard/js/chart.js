/* One objective over time: usage and demand beside what is guaranteed, a strip of statuses below, the same as a table. */

import {COLOURS, Plot} from './plot.js';
import {show} from './quantities.js';

const LATE_SECONDS = 15; // what is older is not called now
const GAP_STEPS = 4; // a host reports late now and then
const STRIP = { // told apart by height as well as by colour
  met: {colour: '#00735c', part: 0.45},
  missed: {colour: '#b83b00', part: 1},
  pending: {colour: '#0062a3', part: 0.3},
  idle: {colour: '#b9c0c6', part: 0.2},
  unknown: {colour: '#5c6670', part: 0.08},
};

export class Chart extends Plot {
  /** `promises` are the steps of what is guaranteed, `changes` when it changed, the oldest first. */
  constructor(section, promises, changes, settings) {
    super(section, settings);
    this.metric = section.dataset.stellaMetric;
    this.promises = promises;
    this.changes = changes;
    this.strip = section.querySelector('[data-stella-strip]');
    this.columns = empty();
    this.indexes = [];
    this.step = 1;
    this.seconds = 900;
  }

  get times() {
    return this.columns.at;
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
    await super.draw();
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

  quantity(value) {
    return show(this.metric, value);
  }

  scales() {
    return {x: {range: (_, least, most) => this.range(most)}, y: {range: (_, least, most) => [0, (most || 1) * 1.1]}};
  }

  series() {
    const words = this.section.dataset;
    return [
      this.line(words.stellaUsageWord, COLOURS.usage, {fill: 'rgba(0, 114, 178, .12)'}),
      this.line(words.stellaDemandWord, COLOURS.demand, {dash: [4, 3]}),
      this.line(words.stellaFloorWord, COLOURS.floor, {width: 2, dash: [10, 3]}),
      this.line(words.stellaCeilingWord, COLOURS.ceiling, {width: 2, dash: [2, 2]}),
    ];
  }

  pointOf(index) {
    return this.indexes[index];
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
  drawn(plot) {
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
    ];
  }

  cells(index) {
    const {at, usage, demand, status, cause} = this.columns;
    return [
      [this.clock.format(at[index] * 1000), ''],
      [show(this.metric, usage[index]), 'stella-number'],
      [show(this.metric, demand[index]), 'stella-number'],
      [this.settings.words.statuses[status[index]] || status[index], ''],
      [cause[index], ''],
    ];
  }
}

function empty() {
  return {at: [], length: [], usage: [], demand: [], status: [], cause: []};
}
