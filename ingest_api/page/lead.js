// The view of one lead.

import { ask, Problem } from "./api.js";
import { button, h, heading, setText, symbol } from "./dom.js";
import { LABELS } from "./fields.js";
import { clock, moment } from "./format.js";
import { LEAD_ID, wayBack } from "./leads.js";
import { poll, slower } from "./poll.js";
import { problemBox, showProblem } from "./problem.js";

const STATES = {
  stored: ["ok", "Stored", "It is a row of the table."],
  queued: ["warn", "Queued", "It waits for a worker, or is a dead letter."],
};

export function showLead(main, route) {
  const place = h("div#lead-problem");
  const content = h("div#lead");
  const asOf = h("span#lead-as-of.hint");
  const again = h("div.buttons", { hidden: true }, button("#lead-again", "Refresh", load), asOf);
  main.replaceChildren(
    h("p", h("a#back", { href: wayBack() }, "Back to the list")),
    heading("Lead"),
    place,
    content,
    again,
  );
  let callOff = () => {};
  let stop = () => {};
  let state = null;

  function load() {
    stop();
    callOff();
    const next = slower(2, 30);
    stop = poll(async (signal) => {
      try {
        const { data } = await ask(`api/leads/${route.id}`, { signal });
        place.replaceChildren();
        if (data.state !== state) content.replaceChildren(...shown(data));
        state = data.state;
        again.hidden = state === "stored";
        setText(asOf, `as of ${clock(Date.now())}`);
        return state === "stored" ? null : next();
      } catch (problem) {
        if (!signal.aborted) callOff = showProblem(place, problem, load);
        return null;
      }
    });
  }

  if (LEAD_ID.test(route.id)) load();
  else place.append(problemBox(new Problem("This is no lead's id.")));
  return {
    stop() {
      stop();
      callOff();
    },
  };
}

function shown(lead) {
  const [level, word, text] = STATES[lead.state];
  const names = Object.keys(LABELS).filter((name) => lead[name] !== undefined && lead[name] !== null);
  return [
    h("p#lead-state.note", { role: "status", "data-level": level }, symbol(level), h("span", h("b", word), ` ${text}`)),
    h(
      "dl.card.facts",
      names.map((name) => h("div", h("dt", LABELS[name]), h(`dd#lead-${name}`, value(name, lead[name])))),
    ),
  ];
}

function value(name, of) {
  if (name === "createdAt" || name === "updatedAt") return moment(of);
  if (name === "duplicateOf") return h("a", { href: `#lead/${of}` }, of);
  if (name === "additionalData") return h("pre", JSON.stringify(of, null, 2));
  if (name !== "consent") return of;
  const items = Object.entries(of).map(([each, text]) =>
    h("div", h("dt", each), h("dd", each === "url" ? witness(text) : text)),
  );
  return h("dl.facts", items);
}

function witness(url) {
  return url.startsWith("https://") ? h("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, url) : url;
}
