// What flows: rates of the last seconds and counts by the minute, out of `status` and `stats`.

export const RANGES = {
  "15m": { label: "15 minutes", span: 900, width: 60, refresh: 20 },
  hour: { label: "an hour", span: 3600, width: 60, refresh: 20 },
  day: { label: "a day", span: 86400, width: 600, refresh: 60 },
};
export const SERIES = ["accepted", "stored", "refused"];

// Seconds between two readings after which nothing is said of the time between.
export const GAP = 15;

const WINDOW = 10; // seconds that a rate is taken over
const LATE = 10; // seconds by which an answer may be older than the one before
const KEPT = 25 * 3600; // seconds of minutes that are kept
const SHORTEST = 10; // seconds that a bar which has just begun is taken to be long at least

export class Flow {
  #last = null; // the last status
  #steps = []; // {time, seconds, grown}: what came between two readings, a number for each of SERIES, or null
  #minutes = new Map(); // by their first second: a number for each of SERIES
  #corrected = 0; // until when `stats` has counted
  #offset = 0; // seconds by which the server's clock is ahead of ours

  // The server's time in seconds.
  get now() {
    return Date.now() / 1000 + this.#offset;
  }

  // Takes an answer of `status`; false when it is older than the one before, as several processes answer in turn.
  take(status) {
    const time = seconds(status);
    const before = this.#last;
    const passed = before ? time - seconds(before) : 0;
    if (before && passed <= 0 && passed > -LATE) return false;
    this.#offset = time - Date.now() / 1000;
    this.#last = status;
    if (passed <= 0 || passed > GAP) {
      this.#steps = [];
      return true;
    }
    const step = { time, seconds: passed, grown: growth(before, status) };
    this.#steps = [...this.#steps.filter((each) => each.time > time - WINDOW), step];
    this.#add(status, step);
    return true;
  }

  // Leads a second over the last seconds, each null while it is not known; null before there are two readings.
  rates() {
    const last = this.#steps.at(-1);
    if (!last) return null;
    const rate = (index) => {
      if (last.grown[index] === null) return null;
      const known = this.#steps.filter((each) => each.grown[index] !== null);
      return sum(known, (each) => each.grown[index]) / sum(known, (each) => each.seconds);
    };
    return Object.fromEntries(SERIES.map((name, index) => [name, rate(index)]));
  }

  // Takes the items of an answer of `stats` by the minute, which was asked for at `time`.
  correct(items, time) {
    for (const each of items)
      this.#minutes.set(
        Date.parse(each.time) / 1000,
        SERIES.map((name) => each[name] ?? 0),
      );
    this.#corrected = time;
    for (const minute of this.#minutes.keys()) if (minute < time - KEPT) this.#minutes.delete(minute);
  }

  // The first second of a range's first bar.
  start(range) {
    const { span, width } = RANGES[range];
    return Math.floor(this.now / width) * width - span + width;
  }

  // The bars of a range up to now, {start, width, elapsed, counts, rates}; both are null where nothing is known.
  bars(range) {
    const { width } = RANGES[range];
    const found = [];
    for (let start = this.start(range); start <= this.now; start += width) {
      const minutes = [];
      for (let minute = start; minute < start + width; minute += 60) minutes.push(this.#minutes.get(minute));
      const known = minutes.filter(Boolean);
      const counts = known.length ? SERIES.map((_, index) => sum(known, (each) => each[index])) : null;
      const elapsed = Math.min(width, this.now - start);
      const rates = counts?.map((each) => each / Math.max(elapsed, SHORTEST)) ?? null;
      found.push({ start, width, elapsed, counts, rates });
    }
    return found;
  }

  #add(status, { time, seconds, grown }) {
    const minute = Math.floor(time / 60) * 60;
    const counts = this.#minutes.get(minute) ?? [0, 0, 0];
    // The part of the time between the two readings that `stats` has not counted.
    const part = Math.max(0, Math.min(seconds, time - this.#corrected)) / seconds;
    const sums = counts.map((each, index) => each + (grown[index] ?? 0) * part);
    // `stats` counts a stored lead in the minute in which it was accepted: while older ones wait, it is none of this.
    if ((status.oldest_age_seconds ?? Infinity) > time - minute) sums[1] = counts[1];
    sums[1] = Math.min(sums[1], sums[0]);
    this.#minutes.set(minute, sums);
  }
}

const seconds = (status) => Date.parse(status.time) / 1000;
const sum = (items, of) => items.reduce((all, each) => all + of(each), 0);

// What came between two readings. While the database is away none is stored, and as many were accepted as wait more.
function growth(before, now) {
  const more = (of) => {
    const [from, to] = [of(before), of(now)];
    return from === null || to === null ? null : Math.max(0, to - from);
  };
  const isAway = !now.database;
  const gone = (ledger) => ledger && ledger.stored + ledger.expired + ledger.erased;
  const waiting = more((status) => status.waiting);
  return [
    isAway ? waiting : more(({ ledger }) => ledger && ledger.accepted),
    isAway ? waiting && 0 : more(({ ledger }) => gone(ledger)),
    more((status) => status.refused_today),
  ];
}
