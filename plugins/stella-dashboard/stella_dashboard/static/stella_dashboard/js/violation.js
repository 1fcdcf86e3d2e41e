/* The page of one violation: its minutes in the chart of an objective. */

import {Chart} from './chart.js';
import {callCores} from './quantities.js';

const told = (id) => JSON.parse(document.getElementById(id).textContent);

export function start(root) {
  const words = told('stella-words');
  callCores(words.cores);
  const {columns, step, seconds} = told('stella-chart');
  const settings = {words, zone: root.dataset.stellaZone, language: root.dataset.stellaLang};
  new Chart(root.querySelector('[data-stella-metric]'), told('stella-promises'), [], settings).replace(columns, step, seconds);
}
