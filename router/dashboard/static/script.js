"use strict";
// Without this file every page can be read. It shows times in the reader's zone, counts the
// seconds of calls that go on, and knows a few keys.

function localise(root) {
  const format = new Intl.DateTimeFormat(document.documentElement.lang, {
    dateStyle: "medium", timeStyle: "medium",
    timeZone: document.documentElement.dataset.zone, // undefined: the browser's
  });
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!Number.isNaN(at.getTime()) && !time.title) {
      time.title = time.textContent;
      time.textContent = format.format(at);
    }
  }
}

// ---- what is fetched anew ----

let focused = null; // where the reader was

function lengths() {
  for (const shown of document.querySelectorAll("[data-began]")) {
    const s = Math.max(0, Math.round(Date.now() / 1000 - Number(shown.dataset.began)));
    const [h, m, rest] = [Math.floor(s / 3600), Math.floor(s / 60) % 60, s % 60];
    const two = (number) => String(number).padStart(2, "0");
    if (h) {
      shown.textContent = `${h}:${two(m)}:${two(rest)} h`;
    } else {
      shown.textContent = m ? `${m}:${two(rest)} min` : `${rest} s`;
    }
  }
}

document.addEventListener("htmx:beforeSwap", (event) => {
  // signed out meanwhile: the answer is the form to sign in
  if (!event.detail.serverResponse.includes('id="live"')) {
    event.detail.shouldSwap = false;
    location.reload();
  }
  focused = document.activeElement.closest("#live a[href], #recent a[href]")?.getAttribute("href");
});
document.addEventListener("htmx:afterSettle", () => {
  const live = document.getElementById("live");
  if (!live) { return; }
  localise(document);
  lengths();
  if (focused) {
    document.querySelector(`:is(#live, #recent) a[href="${CSS.escape(focused)}"]`)?.focus();
  }
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
if (document.querySelector("[data-began]") || document.querySelector("#live[data-topics]")) {
  setInterval(lengths, 1000);
}
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
