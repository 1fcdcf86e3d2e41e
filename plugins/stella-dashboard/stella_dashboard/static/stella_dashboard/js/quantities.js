/* Measured quantities as stella_dashboard/words/quantities.py shows them. */

const NO_BREAK = '\u00a0';
const CORES = {one: 'core', more: 'cores'};
const ENDINGS = {network_packets: 'pps', block_operations: 'iops', network_bytes: 'B/s', block_bytes: 'B/s'};

/** The word of the unit of CPU, for one and for more, in the user's language. */
export function callCores(words) {
  Object.assign(CORES, words);
}

function digits(value) {
  return String(Number(value.toPrecision(3)));
}

/** `20 kpps`, `300 MB/s`, `20 %`; a dash where nothing is known. */
export function show(metric, value) {
  if (value === null || value === undefined) {
    return '\u2013';
  }
  if (metric === 'cpu') {
    return value < 1 ? `${digits(value * 100)}${NO_BREAK}%` : `${digits(value)}${NO_BREAK}${digits(value) === '1' ? CORES.one : CORES.more}`;
  }
  if (metric === 'block_latency') {
    return value >= 1 ? `${digits(value)}${NO_BREAK}s` : `${digits(value * 1000)}${NO_BREAK}ms`;
  }
  const ending = ENDINGS[metric];
  if (!ending) {
    return digits(value);
  }
  const [size, prefix] = [[1e9, 'G'], [1e6, 'M'], [1e3, 'k']].find(([least]) => Math.abs(value) >= least) || [1, ''];
  return `${digits(value / size)}${NO_BREAK}${prefix}${ending}`;
}
