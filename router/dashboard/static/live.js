"use strict";
// One stream of events for a page that shows what goes on: when something of it changes, the part
// that shows it is fetched anew. The stream rests while nobody looks.

const GAP_MS = 1000; // from one fetching to the next
const AGES_MS = 20000; // for what another hour makes another thing, whatever happens
const AGAIN_MS = 5000; // after a stream, or a part of the page, that was refused
const KINDS = [
  "call.began", "call.answered", "call.changed", "call.ended",
  "turn", "fact", "tool_call", "problem", "deliveries", "alert",
  "attempt.changed", "run.changed", "reset",
];
let source = null;
let heardOf = ""; // the id of the last event
let due = null;
let fetching = false;
let fetchedAt = 0;

function region() {
  return document.querySelector("#live[data-topics]");
}

function soon() {
  if (due === null) {
    due = setTimeout(refresh, Math.max(0, fetchedAt + GAP_MS - Date.now()));
  }
}

function refresh() {
  due = null;
  const shown = region();
  if (!shown || document.visibilityState !== "visible") { return; }
  if (fetching || shown.querySelector("details[open]")) {
    due = setTimeout(refresh, GAP_MS);
    return;
  }
  fetchedAt = Date.now();
  htmx.trigger(shown, "refresh");
}

function listen() {
  const shown = region();
  if (source || !shown || document.visibilityState !== "visible") { return; }
  const query = new URLSearchParams({
    topics: shown.dataset.topics, after: heardOf || shown.dataset.after,
  });
  if (shown.dataset.call) { query.set("call_id", shown.dataset.call); }
  source = new EventSource(`/events?${query}`);
  for (const kind of KINDS) {
    source.addEventListener(kind, (event) => {
      heardOf = event.lastEventId || heardOf;
      soon();
    });
  }
  source.addEventListener("error", () => {
    if (source && source.readyState === EventSource.CLOSED) { // it does not try again by itself
      rest();
      setTimeout(() => { listen(); soon(); }, AGAIN_MS);
    }
  });
}

function rest() {
  if (source) { source.close(); }
  source = null;
}

document.addEventListener("htmx:beforeRequest", () => { fetching = true; });
document.addEventListener("htmx:afterRequest", (event) => {
  fetching = false;
  if (!event.detail.successful) { setTimeout(soon, AGAIN_MS); } // nobody tells it once more
});
document.addEventListener("htmx:afterSettle", () => {
  if (!region()) { rest(); } // what it showed is over
});
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") {
    listen();
    soon();
  } else {
    rest();
  }
});
setInterval(() => {
  if (document.querySelector("#live[data-ages]")) { soon(); }
}, AGES_MS);
window.addEventListener("pagehide", rest);
window.addEventListener("pageshow", listen);
listen();
