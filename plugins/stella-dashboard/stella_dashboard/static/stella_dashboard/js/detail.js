/* The page of one instance: a chart for each objective, live or over a longer span. */

import {Chart} from './chart.js';
import {callCores} from './quantities.js';

const LIVE_MILLISECONDS = 1000;
const HISTORY_MILLISECONDS = 60000;
const LARGEST_MILLISECONDS = 30000;

/** Follows the page in `root`. */
export async function start(root) {
  const words = JSON.parse(document.getElementById('stella-words').textContent);
  callCores(words.cores);
  const promises = JSON.parse(document.getElementById('stella-promises').textContent);
  const changes = JSON.parse(document.getElementById('stella-changes').textContent);
  const settings = {words, zone: root.dataset.stellaZone, language: root.dataset.stellaLang};
  const charts = new Map();
  for (const section of root.querySelectorAll('[data-stella-metric]')) {
    const metric = section.dataset.stellaMetric;
    charts.set(metric, new Chart(section, promises[metric] || [], changes[metric] || [], settings));
  }
  new Follower(root, charts).run();
}

/** What the server says of Stella, in the user's language; what the browser says of the network is not. */
class Answered extends Error {}

/** Asks for points again and again, and gives them to the charts. */
class Follower {
  constructor(root, charts) {
    this.root = root;
    this.charts = charts;
    this.notice = root.querySelector('[data-stella-notice]');
    this.span = 'live';
    this.turn = 0; // moves on when another span is chosen: what was asked for before is thrown away
    this.wait = LIVE_MILLISECONDS;
    this.latest = null;
    root.querySelectorAll('[data-stella-span]').forEach((button) => {
      button.addEventListener('click', () => this.choose(button));
    });
  }

  choose(button) {
    this.span = button.dataset.stellaSpan;
    this.root.querySelectorAll('[data-stella-span]').forEach((other) => {
      other.setAttribute('aria-pressed', String(other === button));
      other.classList.toggle('active', other === button);
    });
    this.root.querySelector('[data-stella-download]').href = `${this.root.dataset.stellaCsv}?span=${this.span}`;
    this.latest = null;
    this.run();
  }

  async run() {
    const turn = ++this.turn;
    while (turn === this.turn && this.root.isConnected) {
      if (!document.hidden) {
        await this.ask(turn);
      }
      await new Promise((resolve) => window.setTimeout(resolve, this.wait));
    }
  }

  async ask(turn) {
    const isLive = this.span === 'live';
    const usual = isLive ? LIVE_MILLISECONDS : HISTORY_MILLISECONDS;
    const after = isLive && this.latest ? `&after=${this.latest - 5}` : '';
    try {
      const answer = await fetch(`${this.root.dataset.stellaUsage}?span=${this.span}${after}`, {
        credentials: 'same-origin',
        headers: {'X-Requested-With': 'XMLHttpRequest'},
      });
      if (!answer.ok) {
        throw answer.status === 503 ? new Answered(await answer.text()) : new Error(String(answer.status));
      }
      const found = await answer.json();
      if (turn !== this.turn) {
        return;
      }
      this.take(found, isLive && this.latest !== null);
      this.say(found.note);
      this.wait = usual;
    } catch (error) {
      this.say(error instanceof Answered ? error.message : this.notice.dataset.stellaAway);
      this.wait = Math.min(Math.max(this.wait, usual) * 2, Math.max(LARGEST_MILLISECONDS, usual));
    }
  }

  take(found, isMore) {
    for (const [metric, chart] of this.charts) {
      const columns = found.objectives[metric];
      if (isMore) {
        chart.add(columns);
      } else {
        chart.replace(columns, found.step, found.seconds);
      }
      if (columns && columns.at.length) {
        this.latest = Math.max(this.latest || 0, columns.at[columns.at.length - 1]);
      }
    }
  }

  say(text) {
    if (this.notice.textContent !== text) {
      this.notice.textContent = text;
    }
  }
}
