// Loads the page again when the program that made it has changed; `refresh.py` puts it into the page.
(() => {
  "use strict";
  const { state, stream: address } = document.currentScript.dataset;
  const key = `microweb refresh ${location.pathname}${location.search}`;
  let stream = null;

  function follow() {
    leave();
    const opened = (stream = new EventSource(address));
    opened.onmessage = (event) => {
      // Once for each state: a page that a cache keeps giving out would otherwise be loaded without an end.
      if (event.data === state || sessionStorage.getItem(key) === event.data) return;
      sessionStorage.setItem(key, event.data);
      leave();
      location.reload();
    };
    opened.onerror = () => {
      if (opened.readyState === EventSource.CLOSED && opened === stream) setTimeout(follow, 1000);
    };
  }

  function leave() {
    if (stream !== null) stream.close();
    stream = null;
  }

  // A browser has six connections to a server: tabs in the background leave them to the one that is looked at.
  function followWhenSeen() {
    if (document.visibilityState === "hidden") leave();
    else if (stream === null) follow();
  }

  document.addEventListener("visibilitychange", followWhenSeen);
  addEventListener("pagehide", leave);
  addEventListener("pageshow", followWhenSeen);
  followWhenSeen();
})();
