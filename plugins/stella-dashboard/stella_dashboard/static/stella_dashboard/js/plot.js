/* A plot over time: uPlot draws; the keyboard, the words and the table are here. What it shows is up to who extends it. */

export const HEIGHT = 190;
export const COLOURS = {usage: '#0072b2', demand: '#cc79a7', floor: '#00735c', ceiling: '#8a4b00', missed: '#b83b00', axis: '#5c6670', grid: '#e6e8ea', change: '#1b1f23', halo: '#ffffff'};
const EDGE = 36;
const TABLE_ROWS = 60;

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

/** Who extends it has `times` (Unix seconds), `data()`, `series()`, `scales()`, `tick(time)`, `quantity(value)`, `words(index)` and `cells(index)`. */
export class Plot {
  /** `section` has the places to draw in. */
  constructor(section, settings) {
    this.section = section;
    this.settings = settings;
    this.place = section.querySelector('[data-stella-chart]');
    this.reading = section.querySelector('[data-stella-reading]');
    this.rows = section.querySelector('[data-stella-rows]');
    this.plot = null;
    this.chosen = null;
    this.clock = new Intl.DateTimeFormat(settings.language, {
      timeZone: settings.zone, month: 'short', day: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit',
    });
    this.place.addEventListener('keydown', (event) => this.key(event));
    this.rows.closest('details').addEventListener('toggle', () => this.fill());
    new ResizeObserver(() => this.resize()).observe(this.place);
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
    if (!this.times.length || this.reading.textContent === word) {
      this.reading.textContent = this.times.length ? '' : word;
    }
    this.fill();
  }

  options(library) {
    return {
      width: this.place.clientWidth || 600,
      height: HEIGHT,
      tzDate: (time) => library.tzDate(new Date(time * 1000), this.settings.zone),
      padding: [null, EDGE, null, null], // the last label of time stands half beyond the last point
      cursor: {drag: {x: false, y: false}},
      legend: {mount: (_, legend) => this.section.querySelector('[data-stella-legend]').append(legend)},
      scales: this.scales(),
      axes: [
        {stroke: COLOURS.axis, grid: {stroke: COLOURS.grid}, space: 90, size: 32, values: (_, times) => times.map((time) => this.tick(time))},
        {stroke: COLOURS.axis, grid: {stroke: COLOURS.grid}, size: 84, values: (_, values) => values.map((value) => this.quantity(value))},
      ],
      series: [
        {label: this.section.dataset.stellaTimeWord, value: (_, time) => (time === null ? '' : this.clock.format(time * 1000))},
        ...this.series(),
      ],
      hooks: {draw: [(plot) => this.drawn(plot)], setCursor: [(plot) => { if (plot.cursor.idx !== null && plot.cursor.left >= 0) { this.tell(this.pointOf(plot.cursor.idx), false); } }]},
    };
  }

  line(label, colour, more) {
    return {label, stroke: colour, width: 1.5, value: (_, value) => this.quantity(value), points: {show: false}, ...more};
  }

  /** The point at a place of what is drawn. */
  pointOf(index) {
    return index;
  }

  /** Called when the plot was drawn. */
  drawn() {}

  resize() {
    if (this.plot && this.place.clientWidth) {
      this.plot.setSize({width: this.place.clientWidth, height: HEIGHT});
    }
  }

  key(event) {
    const last = this.times.length - 1;
    const from = this.chosen === null ? last + 1 : this.chosen;
    const next = {ArrowLeft: from - 1, ArrowRight: from + 1, PageUp: from - 60, PageDown: from + 60, Home: 0, End: last}[event.key];
    if (next === undefined || last < 0) {
      return;
    }
    event.preventDefault();
    const index = Math.max(0, Math.min(last, next));
    this.tell(index, true);
    this.plot.setCursor({left: this.plot.valToPos(this.times[index], 'x'), top: 10}, false);
  }

  /** Say the point in words. With the mouse the words stand in the legend, and nothing is read aloud. */
  tell(index, aloud) {
    this.chosen = index;
    if (aloud) {
      this.reading.textContent = this.words(index).filter((word) => word !== '').join(' \u00b7 ');
    }
  }

  /** The newest points as rows, while somebody looks at them. */
  fill() {
    if (!this.rows.closest('details').open) {
      return;
    }
    const fresh = document.createDocumentFragment();
    for (let index = this.times.length - 1; index >= Math.max(0, this.times.length - TABLE_ROWS); index -= 1) {
      const row = document.createElement('tr');
      for (const [text, kind] of this.cells(index)) {
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
