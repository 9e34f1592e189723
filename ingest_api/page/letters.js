// The view Dead letters: by reason, replayed, and what became of them.

import { ask, has } from "./api.js";
import { h, heading, setText, symbol } from "./dom.js";
import { count, duration, moment, number } from "./format.js";
import { poll } from "./poll.js";
import { problemBox, showProblem } from "./problem.js";

const PAGE = 25;

export function showLetters(main, route, noteStatus) {
  const stops = new Set(); // of what is being followed
  const place = h("div", { id: "letters-problem" });
  const total = h("p", { id: "letters-total", role: "status" });
  const reasons = h("div", { id: "reasons", class: "buttons", role: "group", "aria-label": "Reason" });
  const list = h("ol", { id: "letters-list" });
  const more = h(
    "button",
    { id: "letters-more", type: "button", hidden: true, on: { click: () => load(next) } },
    "Show more",
  );
  const again = h("button", { id: "letters-again", type: "button", on: { click: () => load() } }, "Refresh");
  const all = h("div", { id: "replay-all-part", class: "buttons" });
  const result = h("div", { id: "replay-result", role: "status" });
  let reason = null;
  let next = null;
  let known = 0;
  let callOff = () => {};
  let running = null;

  main.replaceChildren(
    heading("Dead letters"),
    h(
      "p",
      {},
      "They could not be stored, and are kept until somebody replays them here, or drops them with the command line.",
    ),
    place,
    h("div", { class: "title" }, total, h("div", { class: "buttons" }, again, all)),
    result,
    reasons,
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
      showCounts(data);
      const items = data.items.map(item);
      if (after === null) list.replaceChildren(...items);
      else list.append(...items);
      next = data.next;
      more.hidden = next === null;
    } catch (problem) {
      if (!signal.aborted) callOff = showProblem(place, problem, () => load(after));
    }
  }

  function showCounts(data) {
    known = data.total;
    noteStatus({ dead_letters: known });
    setText(total, data.total ? count(data.total, "dead letter") : "No dead letters");
    if (!all.contains(document.activeElement)) showReplayAll();
    const choice = (value, label, of) =>
      h(
        "button",
        {
          type: "button",
          class: "choice",
          "aria-pressed": String(reason === value),
          on: { click: () => choose(value) },
        },
        `${label} `,
        h("b", {}, number(of)),
      );
    const found = Object.entries(data.reasons);
    const hadFocus = reasons.contains(document.activeElement);
    reasons.replaceChildren(
      ...(data.total
        ? [choice(null, "All reasons", data.total), ...found.map(([each, of]) => choice(each, each || "No reason", of))]
        : []),
    );
    if (hadFocus) reasons.querySelector('[aria-pressed="true"]')?.focus();
  }

  function choose(value) {
    reason = value;
    load();
  }

  function showReplayAll() {
    const button = h(
      "button",
      { id: "replay-all", type: "button", on: { click: confirm } },
      `Replay all ${number(known)}`,
    );
    all.replaceChildren(...(known ? [button] : []));
  }

  function confirm() {
    const yes = h(
      "button",
      { id: "replay-all-confirm", type: "button", class: "primary", on: { click: replayAll } },
      `Yes, replay all ${number(known)}, of every reason`,
    );
    const no = h(
      "button",
      {
        id: "replay-all-cancel",
        type: "button",
        on: {
          click: () => {
            showReplayAll();
            all.querySelector("button")?.focus();
          },
        },
      },
      "No",
    );
    all.replaceChildren(yes, no);
    yes.focus();
  }

  async function replayAll() {
    const before = known;
    all.replaceChildren();
    setText(result, "Replaying …");
    try {
      const { data, date } = await ask("api/dead-letters/replay", {
        method: "POST",
        body: { all: true },
        timeout: 120,
      });
      const said = `${number(data.replayed)} replayed`;
      setText(result, `${said}, back in the queue.`);
      if (has("read")) stops.add(followAll(data.replayed, before, date, said));
    } catch (problem) {
      result.replaceChildren(problemBox(problem));
    }
    load();
  }

  // All have been tried once nothing waits that came before the replay ended.
  function followAll(replayed, before, ended, said) {
    return poll(async (signal) => {
      try {
        const { data } = await ask("api/status", { signal });
        const passed = (Date.parse(data.time) - ended) / 1000 - 1;
        const dead = Math.min(replayed, Math.max(0, (data.dead_letters ?? 0) - Math.max(0, before - replayed)));
        if (data.queue && passed > 0 && (data.waiting === 0 || data.oldest_age_seconds < passed)) {
          setText(result, `${said}: ${number(replayed - dead)} stored, ${number(dead)} dead again.`);
          load();
          return null;
        }
        setText(result, `${said}: ${number(dead)} dead again so far, others wait.`);
        return 2;
      } catch (problem) {
        if (signal.aborted) return null;
        setText(result, `${said}. ${problem.message} Asking again.`);
        return problem.retryAfter ?? 3;
      }
    });
  }

  function item(letter) {
    const outcome = h("div", { class: "outcome", role: "status" });
    const { lead } = letter;
    const who = lead ? `${lead.firstName} ${lead.lastName}` : "a lead that is not readable";
    const button = h(
      "button",
      {
        type: "button",
        class: "replay",
        "aria-label": `Replay ${who}`,
        on: { click: () => replay(letter, button, outcome) },
      },
      "Replay",
    );
    const id = letter.id && has("read") ? h("a", { href: `#lead/${letter.id}` }, letter.id) : letter.id;
    return h(
      "li",
      { class: "card", "data-letter": letter.letter },
      h("p", { class: "reason", "data-level": "bad" }, symbol("bad"), h("span", {}, letter.reason)),
      h("p", {}, h("bdi", {}, h("b", {}, who)), lead ? [", ", h("bdi", {}, lead.email)] : null),
      h("p", { class: "hint" }, "Dead since ", moment(letter.since), id ? [", lead ", id] : null),
      lead ? h("details", {}, h("summary", {}, "The lead"), h("pre", {}, JSON.stringify(lead, null, 2))) : null,
      h("div", { class: "buttons" }, button, outcome),
    );
  }

  async function replay(letter, button, outcome) {
    button.disabled = true;
    setText(outcome, "Replaying …");
    const began = performance.now();
    try {
      const { data } = await ask("api/dead-letters/replay", { method: "POST", body: { letter: letter.letter } });
      setText(outcome, data.replayed ? "Back in the queue." : "Somebody else has replayed it.");
      if (data.replayed && letter.id && has("read")) stops.add(follow(letter, began, outcome));
      else refreshCounts();
    } catch (problem) {
      outcome.replaceChildren(problemBox(problem));
      button.disabled = problem.status === 404;
    }
  }

  function follow(letter, began, outcome) {
    let seconds = 0.3;
    return poll(async (signal) => {
      const took = duration((performance.now() - began) / 1000);
      seconds = Math.min(seconds * 1.5, 5);
      try {
        const { data } = await ask(`api/leads/${letter.id}`, { signal });
        const again = data.state === "stored" ? null : await deadAgain(letter, signal);
        if (data.state === "stored") outcome.replaceChildren(symbol("ok"), ` Stored after ${took}.`);
        else if (again) outcome.replaceChildren(symbol("bad"), ` A dead letter again: ${again.reason}`);
        else setText(outcome, `Back in the queue, waiting for ${took}.`);
        if (data.state !== "stored" && !again) return seconds;
        refreshCounts();
        return null;
      } catch (problem) {
        if (signal.aborted) return null;
        setText(outcome, `Back in the queue. ${problem.message} Asking again.`);
        return problem.retryAfter ?? 3;
      }
    });
  }

  async function refreshCounts() {
    try {
      showCounts((await ask("api/dead-letters", { query: { limit: 1 } })).data);
    } catch {
      // The counts are those of the last answer.
    }
  }

  load();
  return {
    stop() {
      running.abort();
      callOff();
      for (const stop of stops) stop();
    },
  };
}

// The letter of a replayed lead that could not be stored again, behind its former one.
async function deadAgain(letter, signal) {
  for (let after = letter.letter; after !== null;) {
    const { data } = await ask("api/dead-letters", { query: { limit: 100, after }, signal });
    const found = data.items.find((each) => each.id === letter.id);
    if (found) return found;
    after = data.next;
  }
  return null;
}
