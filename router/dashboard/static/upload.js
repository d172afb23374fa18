"use strict";
// Sends the file of an upload with a word of how far it is. Without this file the form goes by
// itself, and the page shows lists that are being written when it is loaded.

const LOOK_MS = 1000; // from one question how far the import is to the next
const form = document.querySelector("form[data-upload]");
const far = document.getElementById("far");
const bar = far?.querySelector("progress");
const number = new Intl.NumberFormat(document.documentElement.lang);

function say(phase, figures = "", done = null) {
  far.hidden = false;
  const said = far.querySelector("[role=status]");
  if (said.textContent !== far.dataset[phase]) { said.textContent = far.dataset[phase]; }
  far.querySelector(".figures").textContent = figures;
  bar.hidden = ["large", "lost"].includes(phase);
  if (done === null) { bar.removeAttribute("value"); } else { bar.value = done; }
}

async function look(name, isOver) {
  while (!isOver()) {
    const answer = await fetch("/api/csv/imports").catch(() => null);
    const items = answer?.ok ? (await answer.json()).items : [];
    const mine = items.findLast((one) => one.name === name);
    if (isOver()) { return; }
    if (mine?.leads) {
      const figures = `${number.format(mine.kept)} / ${number.format(mine.leads)}`;
      say("keeping", figures, mine.kept / mine.leads);
    } else if (mine) {
      say("reading", number.format(mine.read));
    }
    await new Promise((go) => { setTimeout(go, LOOK_MS); });
  }
}

function send(file) {
  const request = new XMLHttpRequest();
  const button = form.querySelector("button");
  let isOver = false;
  button.disabled = true;
  request.upload.addEventListener("progress", (event) => {
    const mib = (bytes) => number.format(Math.round(bytes / 104857.6) / 10);
    const done = event.total ? event.loaded / event.total : 0;
    say("sending", `${mib(event.loaded)} / ${mib(event.total)} MiB`, done);
  });
  request.upload.addEventListener("load", () => {
    say("reading");
    look(file.name, () => isOver);
  });
  request.addEventListener("loadend", () => {
    isOver = true;
    button.disabled = false;
    if (!request.status) {
      say("lost");
    } else if (request.status < 400) {
      location.assign(request.responseURL); // where the router sent us: the list, or the sign-in
    } else {
      const page = new DOMParser().parseFromString(request.responseText, "text/html");
      document.getElementById("main").replaceWith(page.getElementById("main"));
      document.title = page.title;
      document.getElementById("main").focus();
    }
  });
  request.open("POST", form.action);
  request.send(new FormData(form));
}

form?.addEventListener("submit", (event) => {
  event.preventDefault();
  const [file] = form.elements.namedItem("file").files;
  if (file.size > Number(form.dataset.upload)) { say("large"); } else { send(file); }
});
