/* The list of instances stays as it is now: what changed is put into its cells, and nothing else is touched, so that focus, open
 * menus and the place on the page stay. */

const REFRESH_MILLISECONDS = 5000;
const PENDING_MILLISECONDS = 500; // while a host has yet to take on what was set
const LARGEST_MILLISECONDS = 60000;

/** Names the controls of the list in `root`, and watches it where its rows come anew from a data-stella-live. */
export function start(root) {
  const notice = root.querySelector('[data-stella-notice]');
  nameControls(root, root);
  const address = root.getAttribute('data-stella-live');
  if (!address) {
    return;
  }
  let updatedAt = new Date();
  let wait = usual();
  let staleShown = false;

  function usual() {
    return root.querySelector('.stella-pending') ? PENDING_MILLISECONDS : REFRESH_MILLISECONDS;
  }

  async function refresh() {
    try {
      const answer = await fetch(address, {credentials: 'same-origin', headers: {'X-Requested-With': 'XMLHttpRequest'}});
      if (answer.status === 401 || answer.redirected) {
        return; // the session has ended: Horizon says so on the next click
      }
      if (!answer.ok) {
        throw new Error(String(answer.status));
      }
      const text = await answer.text();
      const fresh = new DOMParser().parseFromString(text, 'text/html');
      update(root, fresh, notice);
      updatedAt = new Date();
      wait = usual();
      if (staleShown) {
        say(notice, '');
        staleShown = false;
      }
    } catch (error) {
      wait = Math.min(wait * 2, LARGEST_MILLISECONDS);
      if (!staleShown) {
        say(notice, notice.dataset.stellaStale.replace('%s', updatedAt.toLocaleTimeString(root.dataset.stellaLang, {timeZone: root.dataset.stellaZone})));
        staleShown = true;
      }
    }
    plan();
  }

  function plan() {
    window.setTimeout(function () {
      if (!root.isConnected) {
        return;
      }
      if (document.hidden) {
        document.addEventListener('visibilitychange', refresh, {once: true});
      } else {
        refresh();
      }
    }, wait);
  }

  plan();
}

/** Put what changed in `fresh` into `root`. Instances that came or went, or are in trouble
 * and not on top, are announced and not moved. */
export function update(root, fresh, notice) {
  const shown = bodies(root);
  const now = bodies(fresh);
  for (const [uuid, body] of now) {
    const old = shown.get(uuid);
    if (old) {
      updateBody(old, body);
    }
  }
  const first = now.values().next().value;
  const isSame = shown.size === now.size && [...now.keys()].every((uuid) => shown.has(uuid));
  const isWorse = first && first.querySelector('.stella-missed') && shown.keys().next().value !== first.dataset.stellaInstance;
  if (!isSame || isWorse) {
    offerReload(notice);
  }
}

function bodies(root) {
  return new Map([...root.querySelectorAll('[data-stella-instance]')].map((body) => [body.dataset.stellaInstance, body]));
}

function cells(body) {
  return new Map([...body.querySelectorAll('[data-stella-cell]')].map((cell) => [cell.dataset.stellaCell, cell]));
}

function updateBody(old, body) {
  const before = cells(old);
  const after = cells(body);
  if ([...before.keys()].join() !== [...after.keys()].join()) {
    if (!isInUse(old)) {
      nameControls(old.closest('[data-stella-live]'), body);
      old.replaceWith(document.adoptNode(body));
    }
    return;
  }
  for (const [name, cell] of after) {
    const shown = before.get(name);
    if (shown.innerHTML !== cell.innerHTML) {
      shown.replaceChildren(...[...cell.childNodes].map((node) => document.adoptNode(node)));
    }
  }
}

/** Names for screen readers, which Horizon's own search field and menus lack. */
function nameControls(root, place) {
  place.querySelectorAll('.table_search input').forEach((input) => input.setAttribute('aria-label', root.dataset.stellaSearch));
  place.querySelectorAll('.actions_column .dropdown-toggle').forEach((menu) => menu.setAttribute('aria-label', root.dataset.stellaMore));
}

function isInUse(element) {
  return element.contains(document.activeElement) || element.querySelector('.open') !== null;
}

function say(notice, text) {
  notice.replaceChildren(document.createTextNode(text));
}

function offerReload(notice) {
  if (notice.querySelector('a')) {
    return;
  }
  say(notice, notice.dataset.stellaChanged + ' ');
  const link = document.createElement('a');
  link.href = window.location.href;
  link.textContent = notice.dataset.stellaReload;
  notice.append(link);
}
