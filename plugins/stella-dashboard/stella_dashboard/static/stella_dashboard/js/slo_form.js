/* The form in which an SLO is set: it is checked while it is filled in, and the API's answer is shown before it is sent. */

const PAUSE_MILLISECONDS = 400;
const AGAIN_MILLISECONDS = 6000; // where Stella did not answer

/** Follows the form. */
export function start(form) {
  let timer = null;
  let asking = null;

  async function check() {
    if (asking) {
      asking.abort();
    }
    asking = new AbortController();
    isAsking(true);
    const signal = asking.signal;
    try {
      const answer = await fetch(form.dataset.stellaCheck, {
        method: 'POST',
        body: new FormData(form),
        credentials: 'same-origin',
        headers: {'X-Requested-With': 'XMLHttpRequest'},
        signal,
      });
      isAsking(false);
      if (answer.ok) {
        const told = await answer.json();
        show(form, told);
        if (told.is_unanswered) {
          soon(AGAIN_MILLISECONDS);
        }
      }
    } catch (error) {
      if (error.name !== 'AbortError') {
        isAsking(false);
        show(form, {html: '', errors: {}});
      }
    }
  }

  function isAsking(is) {
    const box = form.querySelector('[data-stella-answer]');
    if (box) {
      box.setAttribute('aria-busy', String(is));
    }
  }

  function soon(milliseconds) {
    window.clearTimeout(timer);
    timer = window.setTimeout(() => form.isConnected && check(), milliseconds);
  }

  form.addEventListener('input', () => soon(PAUSE_MILLISECONDS));
  form.addEventListener('change', function (event) {
    if (event.target.matches('[data-stella-offers]')) {
      fill(form, event.target.selectedOptions[0].dataset.stellaFields);
    }
    soon(PAUSE_MILLISECONDS);
  });
  form.addEventListener('click', function (event) {
    const button = event.target.closest('[data-stella-take]');
    if (button) {
      const input = form.elements[button.dataset.stellaTake];
      input.value = button.dataset.stellaValue;
      input.focus();
      check();
    }
  });
  if ([...form.querySelectorAll('input[type="text"]')].some((input) => input.value !== input.defaultValue)) {
    soon(0); // it was filled in before this came
  }
}

/** What a class offers, in the fields that it names. */
function fill(form, fields) {
  for (const [name, value] of Object.entries(fields ? JSON.parse(fields) : {})) {
    const input = form.elements[name];
    if (input) {
      input.value = value;
    }
  }
}

function show(form, answer) {
  const box = form.querySelector('[data-stella-answer]');
  if (!box) {
    return;
  }
  const parsed = new DOMParser().parseFromString(answer.html, 'text/html');
  box.replaceChildren(...[...parsed.body.childNodes].map((node) => document.adoptNode(node)));
  form.querySelectorAll('[data-stella-field]').forEach(function (group) {
    const sentence = answer.errors[group.dataset.stellaField] || '';
    const error = group.querySelector('[data-stella-error]');
    const input = group.querySelector('input, select');
    group.classList.toggle('has-error', sentence !== '');
    error.textContent = sentence;
    input.setAttribute('aria-invalid', String(sentence !== ''));
    input.setAttribute('aria-describedby', error.id);
  });
}
