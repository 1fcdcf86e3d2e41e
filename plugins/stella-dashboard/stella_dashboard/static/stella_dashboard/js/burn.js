/* The error budget of an objective over its period: what was missed so far, against what an even burn would have used. */

import {COLOURS, Plot} from './plot.js';

/** Follows the budgets in `root`: their lines come once from its data-stella-burn. */
export async function start(root) {
  const settings = {zone: root.dataset.stellaZone, language: root.dataset.stellaLang};
  const notice = root.querySelector('[data-stella-notice]');
  try {
    const answer = await fetch(root.dataset.stellaBurn, {credentials: 'same-origin', headers: {'X-Requested-With': 'XMLHttpRequest'}});
    if (!answer.ok) {
      notice.textContent = answer.status === 503 ? await answer.text() : notice.dataset.stellaAway;
      return;
    }
    const found = await answer.json();
    for (const section of root.querySelectorAll('[data-stella-metric]')) {
      const columns = found.objectives[section.dataset.stellaMetric];
      section.querySelector('[data-stella-note]').textContent = found.notes[section.dataset.stellaMetric] || '';
      new Burn(section, settings, columns || {at: [], used: [], even: []}, found).draw();
    }
  } catch {
    notice.textContent = notice.dataset.stellaAway;
  }
}

class Burn extends Plot {
  constructor(section, settings, columns, period) {
    super(section, settings);
    this.columns = columns;
    this.period = period;
  }

  get times() {
    return this.columns.at;
  }

  data() {
    return [this.columns.at, this.columns.used, this.columns.even];
  }

  series() {
    const words = this.section.dataset;
    return [
      this.line(words.stellaUsedWord, COLOURS.missed, {width: 2, fill: 'rgba(184, 59, 0, .12)'}),
      this.line(words.stellaEvenWord, COLOURS.floor, {width: 2, dash: [10, 3]}),
    ];
  }

  scales() {
    return {x: {range: () => [this.period.start, this.period.end]}, y: {range: (_, least, most) => [0, (most || 1) * 1.1]}};
  }

  tick(time) {
    return new Intl.DateTimeFormat(this.settings.language, {timeZone: this.settings.zone, month: 'short', day: 'numeric'}).format(time * 1000);
  }

  quantity(value) {
    return value === null || value === undefined ? '\u2013' : this.section.dataset.stellaMinutes.replace('%s', String(Number(value.toPrecision(3))));
  }

  words(index) {
    const {at, used, even} = this.columns;
    const words = this.section.dataset;
    return [
      this.clock.format(at[index] * 1000),
      `${words.stellaUsedWord} ${this.quantity(used[index])}`,
      `${words.stellaEvenWord} ${this.quantity(even[index])}`,
    ];
  }

  cells(index) {
    const {at, used, even} = this.columns;
    return [[this.clock.format(at[index] * 1000), ''], [this.quantity(used[index]), 'stella-number'], [this.quantity(even[index]), 'stella-number']];
  }
}
