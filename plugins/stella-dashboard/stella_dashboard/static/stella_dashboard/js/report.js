/* The report of an SLA: the browser prints it. */

export function start(root) {
  document.body.classList.add('stella-printed'); // styles for print leave out what is Horizon's
  const button = root.querySelector('[data-stella-print]');
  if (button) {
    button.addEventListener('click', () => window.print());
  }
}
