// What flows: rates of the last seconds and counts by the minute, out of `status` and `stats`.

export const RANGES = {
  "15m": { label: "15 minutes", span: 900, width: 60, refresh: 20 },
  hour: { label: "an hour", span: 3600, width: 60, refresh: 20 },
  day: { label: "a day", span: 86400, width: 600, refresh: 60 },
};
export const SERIES = ["accepted", "stored", "refused"];

const WINDOW = 10; // seconds that a rate is taken over
const LATE = 10; // seconds by which an answer may be older than the one before
const GAP = 15; // seconds between two readings after which nothing is said of the time between
const KEPT = 25 * 3600; // seconds of minutes that are kept
const SHORTEST = 10; // seconds that a bar which has just begun is taken to be long at least

export class Flow {
  #samples = [];
  #minutes = new Map(); // by their first second: a number for each of SERIES
  #corrected = 0; // until when `stats` has counted
  #last = null;
  #offset = 0; // seconds by which the server's clock is ahead of ours

  // The server's time in seconds.
  get now() {
    return Date.now() / 1000 + this.#offset;
  }

  // Takes an answer of `status`; false when it is older than the one before, as several processes answer in turn.
  take(status) {
    const time = Date.parse(status.time) / 1000;
    const before = this.#last;
    if (before && time <= before.time && before.time - time < LATE) return false;
    this.#offset = time - Date.now() / 1000;
    const now = totals(status, before, time);
    this.#last = now;
    const seconds = before ? time - before.time : 0;
    if (!before || seconds <= 0 || seconds > GAP || before.isAnchored !== now.isAnchored) {
      this.#samples = [now];
      return true;
    }
    this.#samples = [...this.#samples.filter((each) => each.time >= time - WINDOW), now];
    if (this.#samples.length < 2) this.#samples.unshift(before);
    this.#add(status, before, now);
    return true;
  }

  // Leads a second over the last seconds, or null before there are two readings.
  rates() {
    const [first, last] = [this.#samples.at(0), this.#samples.at(-1)];
    if (!first || first === last) return null;
    const seconds = last.time - first.time;
    return Object.fromEntries(SERIES.map((name) => [name, Math.max(0, last[name] - first[name]) / seconds]));
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
      const counts = known.length ? SERIES.map((_, index) => known.reduce((sum, each) => sum + each[index], 0)) : null;
      const elapsed = Math.min(width, this.now - start);
      const rates = counts?.map((each) => each / Math.max(elapsed, SHORTEST)) ?? null;
      found.push({ start, width, elapsed, counts, rates });
    }
    return found;
  }

  #add(status, before, now) {
    const minute = Math.floor(now.time / 60) * 60;
    const counts = this.#minutes.get(minute) ?? [0, 0, 0];
    // The part of the time between the two readings that `stats` has not counted.
    const fresh = now.time - Math.max(before.time, this.#corrected);
    const part = Math.max(0, fresh) / (now.time - before.time);
    const added = SERIES.map((name) => Math.max(0, now[name] - before[name]) * part);
    // `stats` counts a stored lead in the minute in which it was accepted: while older ones wait, it is none of this.
    if ((status.oldest_age_seconds ?? Infinity) > now.time - minute) added[1] = 0;
    const sums = counts.map((each, index) => each + added[index]);
    sums[1] = Math.min(sums[1], sums[0]);
    this.#minutes.set(minute, sums);
  }
}

// Counts that only grow. Without a ledger, accepted leads are those by which the queue has grown.
function totals(status, before, time) {
  const { ledger } = status;
  const waiting = status.waiting ?? before?.waiting ?? 0;
  const grown = before ? Math.max(0, waiting - before.waiting) : 0;
  const today = status.refused_today ?? before?.today ?? 0;
  const refused = before ? today - (today < before.today ? 0 : before.today) : 0;
  return {
    time,
    waiting,
    today,
    isAnchored: ledger !== null || (before?.isAnchored ?? false), // whether a ledger was ever read
    accepted: ledger ? ledger.accepted : (before?.accepted ?? 0) + grown,
    stored: ledger ? ledger.stored + ledger.expired + ledger.erased : (before?.stored ?? 0),
    refused: (before?.refused ?? 0) + refused,
  };
}
