"use strict";
// Without this file every page can be read. It shows times in the reader's zone, keeps pages of
// calls that go on fresh, and knows a few keys.

const EVERY_MS = 1500;

function localise(root) {
  const format = new Intl.DateTimeFormat(document.documentElement.lang, {
    dateStyle: "medium", timeStyle: "medium",
  });
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.getTime())) {
      time.title = time.textContent;
      time.textContent = format.format(at);
    }
  }
}

// ---- live ----

let asking = false;

function refresh() {
  const live = document.querySelector("#live[hx-get]");
  const open = document.querySelector("#live details[open]");
  if (live && !open && !asking && document.visibilityState === "visible") {
    htmx.trigger(live, "refresh");
  }
}

document.addEventListener("htmx:beforeRequest", () => { asking = true; });
document.addEventListener("htmx:afterRequest", () => { asking = false; });
document.addEventListener("htmx:beforeSwap", (event) => {
  // signed out meanwhile: the answer is the form to sign in
  if (!event.detail.serverResponse.includes('id="live"')) {
    event.detail.shouldSwap = false;
    location.reload();
  }
});
document.addEventListener("htmx:afterSettle", () => {
  const live = document.getElementById("live");
  if (live) { localise(live); }
});

// ---- keys ----

const KEPT = "persona-router.keys";
const GOES = {o: "/", a: "/campaigns", c: "/calls", d: "/dialer", h: "/system", l: "/leads"};
let going = false;

function keysAreOn() {
  return localStorage.getItem(KEPT) !== "off";
}

function move(by) {
  const rows = [...document.querySelectorAll("tr[data-row]")];
  const links = rows.map((row) => row.querySelector("a, button")).filter(Boolean);
  const at = rows.indexOf(document.activeElement.closest("tr[data-row]"));
  const next = links[at < 0 ? (by > 0 ? 0 : links.length - 1) : at + by];
  if (next) { next.focus(); }
}

function turn(to) {
  const link = document.querySelector(`a[rel=${to}]`);
  if (link) { location.assign(link.href); }
}

function pressed(event) {
  const typing = event.target.closest("input, select, textarea, dialog");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || !keysAreOn()) { return; }
  if (going && GOES[event.key]) {
    location.assign(GOES[event.key]);
    return;
  }
  going = event.key === "g";
  if (event.key === "j") { move(1); }
  if (event.key === "k") { move(-1); }
  if (event.key.toLowerCase() === "n") { turn("next"); }
  if (event.key.toLowerCase() === "p") { turn("prev"); }
  if (event.key === "?") { document.getElementById("sheet").showModal(); }
  if (event.key === "/") {
    event.preventDefault();
    const search = document.getElementById("search");
    if (search) { search.focus(); } else { location.assign("/calls#search"); }
  }
}

// ---- copying ----

for (const button of document.querySelectorAll("[data-copy]")) {
  if (navigator.clipboard) {
    button.hidden = false;
    button.addEventListener("click", () => {
      navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    });
  }
}

localise(document);
if (document.querySelector("#live[hx-get]")) { setInterval(refresh, EVERY_MS); }
if (document.body.hasAttribute("data-keys")) {
  document.addEventListener("keydown", pressed);
  const sheet = document.getElementById("sheet");
  const button = document.getElementById("keys");
  button.hidden = false;
  button.addEventListener("click", () => sheet.showModal());
  const on = document.getElementById("keys-on");
  on.checked = keysAreOn();
  on.addEventListener("change", () => localStorage.setItem(KEPT, on.checked ? "on" : "off"));
  if (location.hash === "#search" && document.getElementById("search")) {
    document.getElementById("search").focus();
  }
}
