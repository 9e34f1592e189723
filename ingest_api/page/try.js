// The view Try it, of the embedded run: sends leads and follows them.

import { ask, parseJson } from "./api.js";
import { button, card, field, h, heading, setText, showFieldErrors, spoken, symbol } from "./dom.js";
import { LABELS } from "./fields.js";
import { duration, number } from "./format.js";
import { filterByPhone } from "./leads.js";
import { poll, slower } from "./poll.js";
import { problemBox } from "./problem.js";
import { sampleLead, samplePhone } from "./sample.js";

const THOUSAND = 1000;
const NAMES = ["firstName", "lastName", "email", "phone", "dateOfBirth"];
const IDS = Object.fromEntries([...NAMES, "additionalData"].map((name) => [name, `try-${name}`]));

export function showTry(main) {
  const stops = new Set(); // of what is being followed
  const one = oneLead(stops);
  const many = thousandLeads(stops);
  main.replaceChildren(
    heading("Try it"),
    h(
      "p",
      "Send made-up leads and follow them. They are stored like all others: ",
      h("a", { href: "#now" }, "Now"),
      " shows them come in.",
    ),
    h("div.beside.even", one, many),
  );
  return { update() {}, stop: () => stops.forEach((stop) => stop()) };
}

function oneLead(stops) {
  const inputs = Object.fromEntries(NAMES.map((name) => [name, h("input", { name, autocomplete: "off" })]));
  inputs.additionalData = h("textarea", { name: "additionalData", rows: 3, spellcheck: "false" });
  const place = h("div#try-problem");
  const line = h("ol#try-timeline.timeline");
  const live = h("p.unseen", { role: "status" });
  const send = h("button#try-send.primary", "Send the lead");
  let unanswered = null; // {body, key} of a request that may have been accepted
  let stop = null;

  function prefill() {
    const { additionalData, ...fields } = sampleLead();
    for (const [name, value] of Object.entries(fields)) inputs[name].value = value;
    inputs.additionalData.value = JSON.stringify(additionalData);
  }

  async function onSubmit(event) {
    event.preventDefault();
    if (send.ariaDisabled === "true") return;
    stop?.();
    place.replaceChildren();
    line.replaceChildren();
    showFieldErrors(IDS, {});
    const lead = Object.fromEntries(NAMES.map((name) => [name, inputs[name].value]));
    try {
      if (inputs.additionalData.value.trim()) lead.additionalData = parseJson(inputs.additionalData.value);
    } catch (error) {
      showFieldErrors(IDS, { additionalData: [`This is not JSON: ${error.message}`] });
      return;
    }
    send.ariaDisabled = "true";
    const began = performance.now();
    const body = JSON.stringify(lead);
    // The same key again: a lead whose answer was lost is not accepted twice.
    if (unanswered?.body !== body)
      unanswered = { body, key: `page-${Date.now()}-${Math.random().toString(36).slice(2)}` };
    try {
      const answer = await ask("api/leads", {
        method: "POST",
        body: lead,
        headers: { "Idempotency-Key": unanswered.key },
      });
      unanswered = null;
      follow(answer, began);
    } catch (problem) {
      if (problem.status && problem.status < 500) unanswered = null;
      const rest = showFieldErrors(IDS, problem.fields);
      place.replaceChildren(problemBox(problem, null, rest));
    }
    send.ariaDisabled = "false";
  }

  function follow({ data, status, requestId }, began) {
    const took = () => duration((performance.now() - began) / 1000);
    line.append(
      step("step-accepted", "ok", `${status} after ${took()}`, [
        "Accepted, and on disk. Request ",
        h("code", requestId),
      ]),
      step("step-queued", "ok", "queued", ["In the queue as ", h("a", { href: `#lead/${data.id}` }, data.id)]),
    );
    setText(live, "Accepted, and in the queue");
    const last = step("step-stored", "unknown", "not stored yet", ["Asking …"]);
    line.append(last);
    const next = slower(0.05, 3);
    stop = poll(async (signal) => {
      try {
        const { data: now } = await ask(`api/leads/${data.id}`, { signal });
        if (now.state === "stored") {
          setText(live, `stored after ${took()}`);
          last.replaceWith(step("step-stored", "ok", live.textContent, ["It is a row of the table."]));
          prefill();
          return null;
        }
        const seconds = next();
        const end = seconds ? "" : " The page no longer asks.";
        last.querySelector("span").textContent = `It still waits after ${took()}.${end}`;
        return seconds;
      } catch (problem) {
        if (signal.aborted) return null;
        last.querySelector("span").textContent = `${problem.message} It is asked for again.`;
        return problem.retryAfter ?? 2;
      }
    });
    stops.add(stop);
  }

  prefill();
  return card(
    "try-one",
    "One lead",
    h(
      "form#try-form",
      { novalidate: true, on: { submit: onSubmit } },
      h(
        "div.fields",
        NAMES.map((name) => field(IDS[name], LABELS[name], inputs[name])),
      ),
      field(IDS.additionalData, LABELS.additionalData, inputs.additionalData, "A JSON object, or nothing"),
      h("div.buttons", send),
    ),
    place,
    live,
    line,
  );
}

function step(id, level, title, text) {
  return h(`li#${id}`, { "data-level": level }, symbol(level), h("div", h("b", title), h("span", text)));
}

function thousandLeads(stops) {
  const pressed = button("#try-thousand.primary", "Send a thousand leads", send);
  const bar = h("progress#thousand-progress", {
    max: THOUSAND,
    value: 0,
    "aria-label": "Stored of a thousand leads",
    hidden: true,
  });
  const text = spoken("#thousand-text");
  const more = h("p#thousand-more");
  let stop = null;

  async function send() {
    stop?.();
    pressed.ariaDisabled = "true";
    bar.hidden = false;
    bar.value = 0;
    more.replaceChildren();
    text.say("Sending …");
    const phone = samplePhone();
    const leads = Array.from({ length: THOUSAND }, () => sampleLead(phone));
    const began = performance.now();
    const took = () => duration((performance.now() - began) / 1000);
    try {
      const { data, status } = await ask("api/leads/bulk", { method: "POST", body: leads });
      follow(data.accepted, phone, `${status} after ${took()}`, took);
    } catch (problem) {
      text.say(problem.status ? "Nothing was accepted." : "Whether they were accepted is not known.");
      more.replaceChildren(problemBox(problem));
    }
    pressed.ariaDisabled = "false";
  }

  function follow(accepted, phone, answered, took) {
    const next = slower(0.3, 3);
    const stored = () => `${number(bar.value)} of ${number(accepted)} stored`;
    const say = (end) => text.say(`${answered}: `, `${stored()}${end}`);
    bar.max = accepted;
    say(".");
    more.append(
      h("a", { href: "#now" }, "See them come in"),
      " or ",
      h("a", { href: "#leads", on: { click: () => filterByPhone(phone) } }, "in the list"),
      ".",
    );
    stop = poll(async (signal) => {
      try {
        const { data } = await ask("api/leads", { signal, query: { phone, limit: 1 } });
        bar.value = data.pagination.total;
        if (bar.value >= accepted) {
          text.say(`${stored()}. ${answered}, all stored after ${took()}.`);
          return null;
        }
        const seconds = next();
        say(`, waiting for ${took()}.${seconds ? "" : " The page no longer asks."}`);
        return seconds;
      } catch (problem) {
        if (signal.aborted) return null;
        say(`. ${problem.message} Asking again.`);
        return problem.retryAfter ?? 2;
      }
    });
    stops.add(stop);
  }

  return card(
    "try-many",
    "A thousand",
    h("p", "One request with a thousand leads that share a telephone number, by which they are counted in the list."),
    h("div.buttons", pressed),
    bar,
    text.element,
    more,
  );
}
