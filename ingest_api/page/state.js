// Says in a sentence how the service is.

import { count, duration, number, rate } from "./format.js";

const STAYS = 30; // seconds after which an imbalance is no matter of leads in flight
const UNCHANGED = 10; // seconds for which it must have been the same
const TOO_OLD = 30; // seconds that a lead waits before it is worth a word

// Follows the imbalance: while leads flow it comes and goes.
export class LedgerWatch {
  #since = null;
  #value = 0;
  #valueSince = 0;

  // Returns {level, text, imbalance, seconds}: how long it has been off, and whether that is bad.
  take(status) {
    const { ledger } = status;
    const time = Date.parse(status.time) / 1000;
    if (ledger === null) {
      this.#since = null;
      return { level: "unknown", text: `The ledger is unknown: ${missing(status)}.`, imbalance: 0, seconds: 0 };
    }
    const { imbalance } = ledger;
    if (imbalance === 0) this.#since = null;
    else this.#since ??= time;
    if (imbalance !== this.#value) [this.#value, this.#valueSince] = [imbalance, time];
    const seconds = this.#since === null ? 0 : time - this.#since;
    const isBad = seconds >= STAYS && time - this.#valueSince >= UNCHANGED;
    const level = imbalance === 0 ? "ok" : isBad ? "bad" : "warn";
    return { level, text: line(ledger, level), imbalance, seconds };
  }
}

function missing({ queue, database }) {
  if (!queue) return database ? "the queue is away" : "queue and database are away";
  return database ? "it cannot be read" : "the database is away";
}

function line(ledger, level) {
  const places = ["stored", "waiting", ...["dead", "dropped", "expired", "erased"].filter((place) => ledger[place])];
  const sum = places.map((place) => `${place} ${number(ledger[place])}`).join(" + ");
  const sign = { ok: "=", warn: "≈", bad: "≠" }[level];
  const off = number(Math.abs(ledger.imbalance));
  const end = { ok: "", warn: `: off by ${off}, leads are in flight`, bad: `: off by ${off}` }[level];
  return `accepted ${number(ledger.accepted)} ${sign} ${sum}${end}`;
}

// Returns what there is to say, the gravest first: {level, kind, sentence, detail}.
export function findings(status, ledger, rates) {
  const found = [];
  const say = (level, kind, sentence, detail = "") => found.push({ level, kind, sentence, detail });
  const waiting = status.waiting ?? 0;
  const oldest = status.oldest_age_seconds ?? 0;
  if (!status.queue) {
    const who = status.database ? "The queue is" : "Queue and database are";
    say(
      "bad",
      "queue",
      `${who} away: new leads are refused`,
      "Senders are told to come again. What was accepted is on the queue's disk.",
    );
  } else if (!status.database) {
    const wait = waiting === 1 ? "1 lead waits" : waiting ? `${number(waiting)} leads wait` : "leads will wait";
    const since = waiting ? `The oldest waits for ${duration(oldest)}. ` : "";
    say("bad", "database", `The database is away: ${wait}, none is lost`, `${since}New leads are accepted.`);
  } else if (status.storing_problem) {
    const sentence = `Storing is held up: ${waiting === 1 ? "1 lead waits" : `${number(waiting)} leads wait`}, none is lost`;
    say("bad", "storing", sentence, `The workers say: ${status.storing_problem}. New leads are accepted.`);
  }
  if (ledger.level === "bad") {
    const sentence = `The ledger is off by ${number(Math.abs(ledger.imbalance))} for ${duration(ledger.seconds)}`;
    const detail =
      ledger.imbalance > 0
        ? `${count(ledger.imbalance, "accepted lead")} cannot be found: the queue or the database has lost data.`
        : "More leads are there than were accepted: something else writes to the queue or the table.";
    say("bad", "ledger", sentence, detail);
  }
  for (const { sentence, detail } of serversAway(status.servers)) say("warn", "servers", sentence, detail);
  if (status.queue && status.database && !status.storing_problem && waiting && oldest > TOO_OLD) {
    say(
      "warn",
      "waiting",
      `${waiting === 1 ? "1 lead waits" : `${number(waiting)} leads wait`}, the oldest for ${duration(oldest)}`,
      left(waiting, rates),
    );
  }
  if (status.dead_letters) {
    const sentence = count(status.dead_letters, "dead letter");
    say("warn", "letters", sentence, "The database refuses them. They are kept until somebody replays or drops them.");
  }
  if (!found.length) say("ok", "ok", "All is well", calm(rates));
  return found;
}

function left(waiting, rates) {
  const shrinking = rates ? rates.stored - rates.accepted : 0;
  if (rates && !rates.stored) return "None is being stored. Do the workers run? Their log says what stops them.";
  return shrinking > 0
    ? `${rate(rates.stored)} a second are stored: about ${duration(waiting / shrinking)} to go.`
    : "";
}

function calm(rates) {
  if (!rates) return "";
  return rates.accepted
    ? `${rate(rates.accepted)} leads a second come in, and none waits long.`
    : "No lead has come in for ten seconds.";
}

function serversAway({ queue = [], database = {} }) {
  const away = queue.filter((each) => each.error);
  const found =
    away.length && away.length < queue.length
      ? [
          {
            sentence: `${away.length} of ${queue.length} queue servers ${away.length === 1 ? "is" : "are"} away`,
            detail: "What they hold waits on their disks, the others go on.",
          },
        ]
      : [];
  const members = Object.entries(database.members ?? {}).filter(([, state]) => state !== "ONLINE");
  if (members.length) {
    const detail = members.map(([address, state]) => `${address}: ${state}`).join(", ");
    found.push({ sentence: `${count(members.length, "database server")} not online`, detail });
  }
  return found;
}
