/* Loads Stella's modules where a page or a modal form asks for them: an element with data-stella-module="NAME" gets NAME.js.
 * It is the only script of Stella's on all of Horizon's pages. */
(function () {
  'use strict';
  var own = document.currentScript && document.currentScript.src;

  function base() {
    if (own && /stella_dashboard\/js\/loader\.js/.test(own)) {
      return own.replace(/loader\.js.*$/, '');
    }
    return new URL(window.STATIC_URL + 'stella_dashboard/js/', window.location.href).href; // compressed into one file
  }

  function start(root) {
    root.querySelectorAll('[data-stella-module]').forEach(function (element) {
      var name = element.getAttribute('data-stella-module');
      if (/^[a-z_]+$/.test(name) && !element.stellaStarted) {
        element.stellaStarted = true;
        import(base() + name + '.js').then(function (module) { module.start(element); });
      }
    });
  }

  window.horizon.addInitFunction(function () {
    start(document);
    window.horizon.modals.addModalInitFunction(function (modal) { start(modal.jquery ? modal[0] : modal); });
    window.horizon.tabs.addTabLoadFunction(function (tab) {
      window.setTimeout(function () { start(tab[0]); }, 0); // Horizon compiles what it loaded first
    });
  });
}());
