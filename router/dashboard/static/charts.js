"use strict";
// Charts of the overview, drawn from the figures that `/api/figures` gives.

const ANEW_MS = 15000; // from one drawing to the next, while calls come in
let drawnAt = 0;
let figures = null;
const drawn = new Map(); // by the element's id

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function axes(unit) {
  const line = {stroke: colour("--line"), width: 1};
  const common = {stroke: colour("--muted"), grid: line, ticks: line};
  return [{...common}, {...common, size: 64, values: (_, all) => all.map((one) => `${one}${unit}`)}];
}

function draw(id, unit, series, data) {
  const box = document.getElementById(id);
  drawn.get(id)?.destroy();
  const shown = {
    width: Math.max(220, box.clientWidth), height: 180, legend: {show: series.length > 1},
    cursor: {y: false}, scales: {y: {range: (_, low, high) => [0, Math.max(1, high * 1.1)]}},
    axes: axes(unit), series: [{}, ...series],
  };
  drawn.set(id, new uPlot(shown, data, box));
}

function drawAll() {
  if (!figures) { return; }
  const all = document.getElementById("charts");
  all.hidden = figures.calls === 0;
  if (all.hidden) { return; }
  const of = (name) => figures.hours.map((hour) => hour[name]);
  const bars = uPlot.paths.bars({size: [0.7, 40]});
  const [main, other] = [colour("--link"), colour("--warn")];
  draw("volume", "", [
    {label: all.dataset.calls, stroke: main, fill: main, paths: bars, points: {show: false}},
  ], [of("at"), of("calls")]);
  draw("rings", " ms", [
    {label: all.dataset.half, stroke: main, width: 2, spanGaps: false},
    {label: all.dataset.most, stroke: other, width: 2, dash: [6, 4], spanGaps: false},
  ], [of("at"), of("ring_p50_ms"), of("ring_p95_ms")]);
}

async function fetchFigures() {
  if (Date.now() - drawnAt < ANEW_MS) { return; }
  drawnAt = Date.now();
  const answer = await fetch("/api/figures", {signal: AbortSignal.timeout(10000)});
  if (answer.ok) {
    figures = await answer.json();
    drawAll();
  }
}

function anew() {
  fetchFigures().catch(() => {}); // the next change of the page tries again
}

document.addEventListener("htmx:afterSettle", anew);
window.addEventListener("resize", drawAll);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
anew();
