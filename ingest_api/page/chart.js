// Draws the flow as SVG: accepted as bars, stored as a line over them, refused as hatched bars below the axis.

import { svg } from "./dom.js";
import { hour, rate, scale } from "./format.js";

const GRID_LINES = 4;

// Draws `bars` of Flow into `element`, at its own size. `pointed` is the index of the bar to mark, or null.
export function drawChart(element, bars, pointed) {
  const { width, height } = element.getBoundingClientRect();
  const em = parseFloat(getComputedStyle(element).fontSize);
  if (!width) return;
  const known = bars.map((each) => each.rates).filter(Boolean);
  const up = Math.max(0, ...known.map(([accepted, stored]) => Math.max(accepted, stored)));
  const down = Math.max(0, ...known.map((each) => each[2]));
  const step = niceStep((up + down) / GRID_LINES);
  const top = Math.max(1, Math.ceil(up / step)) * step;
  const bottom = down && Math.max(1.1 * down, top / 20);
  const written = scale(step);
  const texts = [];
  for (let line = -Math.floor(bottom / step); line <= Math.round(top / step); line += 1)
    texts.push([line * step, written(Math.abs(line * step))]);

  const left = em * (0.8 + 0.6 * Math.max(...texts.map(([, text]) => text.length)));
  const plot = { left, top: em, right: width - 2, bottom: height - 1.8 * em };
  const y = (value) => plot.top + ((top - value) / (top + bottom)) * (plot.bottom - plot.top);
  const [first, last] = [bars[0].start, bars.at(-1).start + bars.at(-1).width];
  const x = (second) => plot.left + ((second - first) / (last - first)) * (plot.right - plot.left);

  const grid = texts.map(([value, text]) => [
    svg("line", { class: value === 0 ? "axis" : "grid", x1: plot.left, x2: plot.right, y1: y(value), y2: y(value) }),
    svg("text", { x: plot.left - em / 2, y: y(value) + em / 3, "text-anchor": "end" }, text),
  ]);
  const times = timesOf(first, last, (plot.right - plot.left) / (4.5 * em)).map((second) => [
    svg("line", { class: "tick", x1: x(second), x2: x(second), y1: plot.bottom, y2: plot.bottom + em / 3 }),
    svg("text", { x: x(second), y: height - em / 3, "text-anchor": "middle" }, hour(second * 1000)),
  ]);
  const each = bars.map(({ start, elapsed, width: whole, rates }) => {
    const [from, to] = [x(start), x(start + elapsed)];
    const gap = Math.min(2, (x(start + whole) - from) / 6);
    return { from, to: Math.max(from + 1, to - gap), rates };
  });
  const box = ({ from, to }, value) => `M${from} ${y(0)}V${y(value)}H${to}V${y(0)}Z`;
  const draw = (path) =>
    each
      .filter((bar) => bar.rates)
      .map(path)
      .join("");
  const band = pointed === null ? null : each[pointed];
  element.replaceChildren(
    svg(
      "svg",
      { width, height, viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true", focusable: "false" },
      svg("defs", {}, hatch()),
      band && svg("rect", { class: "band", x: band.from, y: 0, width: band.to - band.from, height: plot.bottom }),
      grid,
      times,
      svg("path", { class: "accepted", d: draw((bar) => box(bar, bar.rates[0])) }),
      svg("path", {
        class: "refused",
        fill: "url(#hatch)",
        d: draw((bar) => (bar.rates[2] ? box(bar, -bar.rates[2]) : "")),
      }),
      svg("path", { class: "stored", d: draw((bar) => `M${bar.from} ${y(bar.rates[1])}H${bar.to}`) }),
    ),
  );
  element.dataset.from = plot.left;
  element.dataset.to = plot.right;
}

// What the chart says, for those who do not see it.
export function described(bars, range) {
  const [accepted, stored, refused] = (bars.at(-1).rates ?? [null, null, null]).map(rate);
  const known = bars.filter((each) => each.rates);
  const most = known.length ? known.reduce((best, each) => (each.rates[0] > best.rates[0] ? each : best)) : null;
  const highest = most ? ` Most accepted: ${rate(most.rates[0])} at ${hour(most.start * 1000)}.` : "";
  const now = `Now accepted ${accepted}, of these stored ${stored}, refused ${refused}.`;
  return `Leads a second over ${range}. ${now}${highest}`;
}

// The index of the bar under a pointer.
export function barAt(element, bars, clientX) {
  const { from, to } = element.dataset;
  const part = (clientX - element.getBoundingClientRect().left - from) / (to - from);
  const index = Math.floor(part * bars.length);
  return index >= 0 && index < bars.length ? index : null;
}

function hatch() {
  const lines = svg("path", { class: "hatch", d: "M-1 1l2 -2M0 6l6 -6M5 7l2 -2" });
  return svg("pattern", { id: "hatch", width: 6, height: 6, patternUnits: "userSpaceOnUse" }, lines);
}

function niceStep(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].find((each) => each * power >= value) * power;
}

// The full times of the viewer's day between two seconds, at most `most` of them.
function timesOf(first, last, most) {
  const minutes =
    [1, 5, 15, 30, 60, 180, 360, 720].find((each) => (last - first) / 60 / each <= Math.max(1, most)) ?? 720;
  const found = [];
  const midnight = new Date(first * 1000).setHours(0, 0, 0, 0) / 1000;
  for (let second = midnight; second < last; second += minutes * 60) if (second > first) found.push(second);
  return found;
}
