// Numbers and times as the viewer's locale writes them.

import { h } from "./dom.js";

const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const tiny = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 1 });
const tenths = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const hundredths = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });
const clockTime = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const minuteTime = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const dateTime = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

export const NOTHING = "–";

export const number = (value) => (value === null || value === undefined ? NOTHING : whole.format(value));
export const clock = (milliseconds) => clockTime.format(milliseconds);
export const hour = (milliseconds) => minuteTime.format(milliseconds);

export function rate(value) {
  if (value === null || value === undefined) return NOTHING;
  return (value < 0.1 ? tiny : value < 10 ? tenths : whole).format(value);
}

// Returns what writes the multiples of a step, each with as many digits as the step needs.
export function scale(step) {
  const digits = Math.max(0, Math.ceil(-Math.log10(step)));
  const format = new Intl.NumberFormat(undefined, { maximumFractionDigits: digits });
  return (value) => format.format(value);
}

// The number with its noun: "1 lead", "1,000 leads".
export function count(value, noun) {
  return `${number(value)} ${noun}${value === 1 ? "" : "s"}`;
}

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return NOTHING;
  if (seconds < 1) return `${hundredths.format(seconds)} s`;
  if (seconds < 10) return `${tenths.format(seconds)} s`;
  if (seconds < 90) return `${whole.format(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  if (minutes < 48 * 60) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${whole.format(Math.floor(minutes / 1440))} days`;
}

export function bytes(value) {
  if (value < 1000) return `${value} bytes`;
  const [size, unit] = value < 1e6 ? [value / 1e3, "kB"] : value < 1e9 ? [value / 1e6, "MB"] : [value / 1e9, "GB"];
  return `${tenths.format(size)} ${unit}`;
}

// A moment of the API: the viewer's time, with UTC as its title.
export function moment(text) {
  const utc = text.replace("T", " ").replace("Z", " UTC");
  return h("time", { datetime: text, title: utc }, dateTime.format(new Date(text)));
}
