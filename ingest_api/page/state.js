// Says in a sentence how the service is.

import { GAP } from "./flow.js";
import { count, duration, number, rate } from "./format.js";

const STAYS = 30; // seconds after which an imbalance is no matter of leads in flight
const UNCHANGED = 10; // seconds for which it must have been the same
const TOO_OLD = 30; // seconds that a lead waits before it is worth a word
const TOO_MANY = 50_000; // leads that wait, however young
const MANY = 0.5; // refused leads a second that are worth a word, when they are most of what comes in

// Follows the imbalance: while leads flow it comes and goes.
export class LedgerWatch {
  #last = 0; // when it was read
  #since = null;
  #value = 0;
  #valueSince = 0;

  // Returns {level, text, imbalance, seconds}: how long it has been off, and whether that is bad.
  take(status) {
    const { ledger } = status;
    const time = Date.parse(status.time) / 1000;
    if (time - this.#last > GAP) this.#since = null; // what was in flight then is not what is now
    this.#last = time;
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
  const wait = waiting === 1 ? "1 lead waits" : `${number(waiting)} leads wait`;
  const accepted = status.queue_full ? "" : "New leads are accepted.";
  if (status.queue && status.queue_full) {
    const sentence = "The queue is full: new leads are refused, none that was accepted is lost";
    say("bad", "full", sentence, `${wait}. Senders are told to come again.`);
  }
  if (!status.queue) {
    const who = status.database ? "The queue is" : "Queue and database are";
    const detail = "Senders are told to come again. What was accepted is on the queue's disk.";
    say("bad", "queue", `${who} away: new leads are refused`, detail);
  } else if (!status.database) {
    const since = waiting ? `The oldest waits for ${duration(oldest)}. ` : "";
    const sentence = `The database is away: ${waiting ? wait : "leads will wait"}, none is lost`;
    say("bad", "database", sentence, since + accepted);
  } else if (status.storing_problem) {
    const detail = `The workers say: ${status.storing_problem}. ${accepted}`;
    say("bad", "storing", `Storing is held up: ${wait}, none is lost`, detail);
  }
  if (ledger.level === "bad") {
    const off = number(Math.abs(ledger.imbalance));
    const sentence = `The ledger has been off by ${off} for ${duration(ledger.seconds)}`;
    const detail =
      ledger.imbalance > 0
        ? `${count(ledger.imbalance, "accepted lead")} cannot be found: the queue or the database has lost data.`
        : "More leads are there than were accepted: something else writes to the queue or the table.";
    say("bad", "ledger", sentence, detail);
  }
  const { accepted: taken, refused } = rates ?? {};
  if (!status.queue_full && refused >= MANY && taken !== null && refused > taken) {
    const others = taken ? `Only ${rate(taken)} a second are accepted.` : "None is accepted.";
    const detail = `${others} The answers to their senders say why, and so does the API's log.`;
    say("warn", "refused", `${rate(refused)} leads a second are refused`, detail);
  }
  serversAway(status.servers, (sentence, detail) => say("warn", "servers", sentence, detail));
  if (status.queue && status.database && !status.storing_problem && waiting && (oldest > TOO_OLD || waiting > TOO_MANY)) {
    say("warn", "waiting", `${wait}, the oldest for ${duration(oldest)}`, left(waiting, rates));
  }
  if (status.dead_letters) {
    const sentence = count(status.dead_letters, "dead letter");
    say("warn", "letters", sentence, "The database refuses them. They are kept until somebody replays or drops them.");
  }
  if (!found.length) say("ok", "ok", "All is well", calm(rates));
  return found;
}

function left(waiting, rates) {
  if (!rates || rates.stored === null) return "";
  if (!rates.stored) return "None is being stored. Do the workers run? Their log says what stops them.";
  const shrinking = rates.stored - rates.accepted;
  return shrinking > 0
    ? `${rate(rates.stored)} a second are stored: about ${duration(waiting / shrinking)} to go.`
    : "";
}

function calm(rates) {
  if (!rates || rates.accepted === null) return "";
  return rates.accepted
    ? `${rate(rates.accepted)} leads a second come in, and none waits long.`
    : "No lead was accepted in the last ten seconds.";
}

function serversAway({ queue = [], database = {} }, say) {
  const away = queue.filter((each) => each.error).length;
  if (away && away < queue.length) {
    const sentence = `${away} of ${queue.length} queue servers ${away === 1 ? "is" : "are"} away`;
    say(sentence, "What they hold waits on their disks, the others go on.");
  }
  const members = Object.entries(database.members ?? {}).filter(([, state]) => state !== "ONLINE");
  if (members.length) {
    const detail = members.map(([address, state]) => `${address}: ${state}`).join(", ");
    say(`${count(members.length, "database server")} not online`, detail);
  }
}
