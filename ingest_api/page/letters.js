// The view Dead letters: by reason, replayed, and what became of them.

import { ask, has } from "./api.js";
import { button, h, heading, setText, spoken, symbol } from "./dom.js";
import { count, duration, moment, number } from "./format.js";
import { poll, slower } from "./poll.js";
import { problemBox, showProblem } from "./problem.js";

const PAGE = 25;
const CLOCKS = 10_000; // milliseconds by which the clocks of API and queue may differ

export function showLetters(main, route, noteStatus) {
  const follows = new Set(); // what stops following a letter
  const place = h("div#letters-problem");
  const total = h("p#letters-total", { role: "status" });
  const reasons = h("div#reasons.buttons", { role: "group", "aria-label": "Reason" });
  const list = h("ol#letters-list");
  const more = button("#letters-more", "Show more", () => load(next), { hidden: true });
  const again = button("#letters-again", "Refresh", () => load());
  const ofNewest = h("p#reasons-of.hint");
  const all = h("div#replay-all-part.buttons");
  const result = spoken("#replay-result", { tabindex: "-1" });
  let reason = null;
  let next = null;
  let known = 0;
  let reasonCounts = {};
  let callOff = () => {};
  let stopAll = () => {};
  let running = null;

  main.replaceChildren(
    heading("Dead letters"),
    h("p", "They could not be stored, and are kept until they are replayed here, or dropped with the command line."),
    place,
    h("div.title", total, h("div.buttons", again, all)),
    result.element,
    reasons,
    ofNewest,
    list,
    more,
  );

  async function load(after = null) {
    running?.abort();
    callOff();
    const { signal } = (running = new AbortController());
    try {
      const { data } = await ask("api/dead-letters", { query: { limit: PAGE, after, reason }, signal });
      place.replaceChildren();
      known = data.total;
      // The first page alone counts them.
      if (after === null) {
        reasonCounts = data.reasons ?? {};
        for (const stop of follows) stop();
        setText(ofNewest, known > data.reasons_of ? `Reasons of the newest ${number(data.reasons_of)}` : "");
      }
      showCounts();
      const items = data.items.map(item);
      if (after === null) list.replaceChildren(...items);
      else list.append(...items);
      next = data.next;
      more.hidden = next === null;
    } catch (problem) {
      if (!signal.aborted) callOff = showProblem(place, problem, () => load(after));
    }
  }

  function showCounts() {
    noteStatus({ dead_letters: known });
    setText(total, known ? count(known, "dead letter") : "No dead letters");
    if (!all.contains(document.activeElement)) showReplayAll();
    const choice = (value, label, of) =>
      button(".choice", [`${label} `, h("b", number(of))], () => choose(value), {
        "aria-pressed": String(reason === value),
      });
    const found = Object.entries(reasonCounts).filter(([each, of]) => each && of > 0);
    const hadFocus = reasons.contains(document.activeElement);
    reasons.replaceChildren(
      ...(known ? [choice(null, "All reasons", known), ...found.map(([each, of]) => choice(each, each, of))] : []),
    );
    if (hadFocus) reasons.querySelector('[aria-pressed="true"]')?.focus();
  }

  // Counts a letter that went, or came, since the API has counted them.
  function change(by, of) {
    known = Math.max(0, known + by);
    reasonCounts[of] = (reasonCounts[of] ?? 0) + by;
    showCounts();
  }

  function choose(value) {
    reason = value;
    load();
  }

  function showReplayAll() {
    const text = `Replay all ${number(known)}`;
    all.replaceChildren(...(known ? [button("#replay-all", text, confirm)] : []));
  }

  function confirm() {
    const text = `Yes, replay all ${number(known)}, of every reason`;
    const yes = button("#replay-all-confirm.primary", text, replayAll);
    const onNo = () => {
      showReplayAll();
      all.firstChild?.focus();
    };
    const no = button("#replay-all-cancel", "No", onNo);
    all.replaceChildren(yes, no);
    yes.focus();
  }

  async function replayAll() {
    const before = known;
    all.replaceChildren();
    result.say("Replaying …");
    result.element.focus();
    try {
      const options = { method: "POST", body: { all: true }, timeout: 120 };
      const { data, date } = await ask("api/dead-letters/replay", options);
      const said = `${number(data.replayed)} replayed`;
      result.say(`${said}, back in the queue.`);
      stopAll();
      if (has("read")) stopAll = followAll(data.replayed, before, date, said);
    } catch (problem) {
      result.say([problemBox(problem)]);
    }
    load();
  }

  // All have been tried once nothing waits that came before the replay ended.
  function followAll(replayed, before, ended, said) {
    return poll(async (signal) => {
      try {
        const { data } = await ask("api/status", { signal });
        // Date is up to 2 s old.
        const passed = (Date.parse(data.time) - ended) / 1000 - 3;
        const { waiting, oldest_age_seconds: oldest, dead_letters: letters } = data;
        // A busy queue may not have been read.
        if (waiting === null || letters === null) return 2;
        const dead = Math.min(replayed, Math.max(0, letters - Math.max(0, before - replayed)));
        if (passed > 0 && (waiting === 0 || (oldest ?? Infinity) < passed)) {
          result.say(`${said}: ${number(replayed - dead)} stored, ${number(dead)} dead again.`);
          load();
          return null;
        }
        result.say(said, `: ${number(dead)} dead again so far, others wait.`);
        return 2;
      } catch (problem) {
        if (signal.aborted) return null;
        result.say(said, `. ${problem.message} Asking again.`);
        return problem.retryAfter ?? 3;
      }
    });
  }

  function item(letter) {
    const outcome = spoken(".outcome");
    const { lead } = letter;
    const who = lead ? `${lead.firstName} ${lead.lastName}` : "a lead that is not readable";
    const again = button(".replay", "Replay", () => replay(letter, again, outcome), { "aria-label": `Replay ${who}` });
    const id = letter.id && has("read") ? h("a", { href: `#lead/${letter.id}` }, letter.id) : letter.id;
    return h(
      "li.card",
      { "data-letter": letter.letter },
      h("p.reason", { "data-level": "bad" }, symbol("bad"), h("span", letter.reason)),
      h("p", h("bdi", h("b", who)), lead ? [", ", h("bdi", lead.email)] : null),
      h("p.hint", "Dead since ", moment(letter.since), id ? [", lead ", id] : null),
      lead ? h("details", h("summary", "The lead"), h("pre", JSON.stringify(lead, null, 2))) : null,
      h("div.buttons", again, outcome.element),
    );
  }

  async function replay(letter, pressed, outcome) {
    pressed.ariaDisabled = "true";
    outcome.say("Replaying …");
    const began = performance.now();
    try {
      const body = { letter: letter.letter };
      const { data, date } = await ask("api/dead-letters/replay", { method: "POST", body });
      if (!outcome.element.isConnected) return; // the list was read again
      if (data.replayed) outcome.say("Back in the queue", ".");
      else outcome.say("Somebody else has replayed it.");
      change(-1, letter.reason);
      if (data.replayed && letter.id && has("read")) follows.add(follow(letter, began, date, outcome));
    } catch (problem) {
      outcome.say([problemBox(problem)]);
      if (problem.status !== 404) pressed.ariaDisabled = "false";
      else change(-1, letter.reason);
    }
  }

  function follow(letter, began, replayedAt, outcome) {
    const next = slower(0.3);
    return poll(async (signal) => {
      const took = duration((performance.now() - began) / 1000);
      try {
        const { data } = await ask(`api/leads/${letter.id}`, { signal });
        const again = data.state === "stored" ? null : await deadAgain(letter, replayedAt, signal);
        if (data.state === "stored") {
          outcome.say([symbol("ok"), ` Stored after ${took}.`]);
          return null;
        }
        if (again) {
          outcome.say([symbol("bad"), ` A dead letter again: ${again.reason}`]);
          change(1, again.reason);
          return null;
        }
        const seconds = next();
        outcome.say("Back in the queue", `, waiting for ${took}.${seconds ? "" : " The page no longer asks."}`);
        return seconds;
      } catch (problem) {
        if (signal.aborted) return null;
        outcome.say("Back in the queue", `. ${problem.message} Asking again.`);
        return problem.retryAfter ?? 3;
      }
    });
  }

  load();
  return {
    stop() {
      running.abort();
      callOff();
      stopAll();
      for (const stop of follows) stop();
    },
  };
}

// The letter of a replayed lead that could not be stored again; names begin with the time.
async function deadAgain(letter, replayedAt, signal) {
  const since = replayedAt - CLOCKS;
  for (let after = parseInt(letter.letter) < since ? `${since}-0` : letter.letter; after !== null;) {
    const { data } = await ask("api/dead-letters", { query: { limit: 100, after }, signal });
    const found = data.items.find((each) => each.id === letter.id);
    if (found) return found;
    after = data.next;
  }
  return null;
}
