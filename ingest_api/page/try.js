// The view Try it, of the embedded run: sends leads and follows them.

import { ask, parseJson } from "./api.js";
import { field, h, heading, showFieldErrors, symbol } from "./dom.js";
import { duration, number } from "./format.js";
import { filterByPhone } from "./leads.js";
import { poll } from "./poll.js";
import { problemBox } from "./problem.js";
import { sampleLead, samplePhone } from "./sample.js";

const THOUSAND = 1000;
const NAMES = {
  firstName: "First name",
  lastName: "Last name",
  email: "E-mail address",
  phone: "Phone",
  dateOfBirth: "Date of birth",
};
const IDS = Object.fromEntries([...Object.keys(NAMES), "additionalData"].map((name) => [name, `try-${name}`]));

export function showTry(main) {
  const stops = new Set(); // of what is being followed
  const one = oneLead(stops);
  const many = thousandLeads(stops);
  main.replaceChildren(
    heading("Try it"),
    h(
      "p",
      {},
      "Send made-up leads and follow them. They are stored like all others: ",
      h("a", { href: "#now" }, "Now"),
      " shows them come in.",
    ),
    h("div", { class: "beside even" }, one, many),
  );
  return { update() {}, stop: () => stops.forEach((stop) => stop()) };
}

function oneLead(stops) {
  const inputs = Object.fromEntries(
    Object.keys(NAMES).map((name) => [name, h("input", { name, autocomplete: "off" })]),
  );
  inputs.additionalData = h("textarea", { name: "additionalData", rows: 3, spellcheck: "false" });
  const place = h("div", { id: "try-problem" });
  const line = h("ol", { id: "try-timeline", class: "timeline" });
  const send = h("button", { id: "try-send", class: "primary" }, "Send the lead");
  let unanswered = null; // {body, key} of a request that may have been accepted
  let stop = null;

  function prefill() {
    const { additionalData, ...fields } = sampleLead();
    for (const [name, value] of Object.entries(fields)) inputs[name].value = value;
    inputs.additionalData.value = JSON.stringify(additionalData);
  }

  async function onSubmit(event) {
    event.preventDefault();
    stop?.();
    place.replaceChildren();
    line.replaceChildren();
    showFieldErrors(IDS, {});
    const lead = Object.fromEntries(Object.keys(NAMES).map((name) => [name, inputs[name].value]));
    try {
      if (inputs.additionalData.value.trim()) lead.additionalData = parseJson(inputs.additionalData.value);
    } catch (error) {
      showFieldErrors(IDS, { additionalData: [`This is not JSON: ${error.message}`] });
      return;
    }
    send.disabled = true;
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
    send.disabled = false;
  }

  function follow({ data, status, requestId }, began) {
    const took = () => duration((performance.now() - began) / 1000);
    line.append(
      step("step-accepted", "ok", `${status} after ${took()}`, [
        "Accepted, and on disk. Request ",
        h("code", {}, requestId),
      ]),
      step("step-queued", "ok", "queued", ["In the queue as ", h("a", { href: `#lead/${data.id}` }, data.id)]),
    );
    const last = step("step-stored", "unknown", "not stored yet", ["Asking …"]);
    line.append(last);
    let seconds = 0.05;
    stop = poll(async (signal) => {
      try {
        const { data: now } = await ask(`api/leads/${data.id}`, { signal });
        if (now.state === "stored") {
          last.replaceWith(step("step-stored", "ok", `stored after ${took()}`, ["It is a row of the table."]));
          prefill();
          return null;
        }
        last.querySelector("span").textContent = `It still waits after ${took()}.`;
      } catch (problem) {
        if (signal.aborted) return null;
        last.querySelector("span").textContent = `${problem.message} It is asked for again.`;
        seconds = Math.max(seconds, problem.retryAfter ?? 2);
      }
      seconds = Math.min(seconds * 1.4, 2);
      return seconds;
    });
    stops.add(stop);
  }

  prefill();
  return h(
    "section",
    { class: "card", "aria-labelledby": "try-one" },
    h("h2", { id: "try-one" }, "One lead"),
    h(
      "form",
      { id: "try-form", novalidate: true, on: { submit: onSubmit } },
      h(
        "div",
        { class: "fields" },
        Object.entries(NAMES).map(([name, label]) => field(IDS[name], label, inputs[name])),
      ),
      field(IDS.additionalData, "Additional data", inputs.additionalData, "A JSON object, or nothing"),
      h("div", { class: "buttons" }, send),
    ),
    place,
    h("div", { role: "status" }, line),
  );
}

function step(id, level, title, text) {
  return h("li", { id, "data-level": level }, symbol(level), h("div", {}, h("b", {}, title), h("span", {}, text)));
}

function thousandLeads(stops) {
  const button = h(
    "button",
    { id: "try-thousand", type: "button", class: "primary", on: { click: send } },
    "Send a thousand leads",
  );
  const bar = h("progress", {
    id: "thousand-progress",
    max: THOUSAND,
    value: 0,
    "aria-label": "Stored of a thousand leads",
    hidden: true,
  });
  const text = h("p", { id: "thousand-text", role: "status" });
  const more = h("p", { id: "thousand-more" });
  let stop = null;

  async function send() {
    stop?.();
    button.disabled = true;
    bar.hidden = false;
    bar.value = 0;
    more.replaceChildren();
    text.textContent = "Sending …";
    const phone = samplePhone();
    const leads = Array.from({ length: THOUSAND }, () => sampleLead(phone));
    const began = performance.now();
    const took = () => duration((performance.now() - began) / 1000);
    try {
      const { data, status } = await ask("api/leads/bulk", { method: "POST", body: leads });
      follow(data.accepted, phone, `${status} after ${took()}`, took);
    } catch (problem) {
      text.textContent = problem.status ? "Nothing was accepted." : "Whether they were accepted is not known.";
      more.replaceChildren(problemBox(problem));
    }
    button.disabled = false;
  }

  function follow(accepted, phone, answered, took) {
    const say = (stored, end) => {
      bar.value = stored;
      text.textContent = `${number(stored)} of ${number(accepted)} stored. ${answered}${end}`;
    };
    bar.max = accepted;
    say(0, ".");
    more.append(
      h("a", { href: "#now" }, "See them come in"),
      " or ",
      h("a", { href: "#leads", on: { click: () => filterByPhone(phone) } }, "in the list"),
      ".",
    );
    stop = poll(async (signal) => {
      try {
        const { data } = await ask("api/leads", { signal, query: { phone, limit: 1 } });
        const { total } = data.pagination;
        say(total, total >= accepted ? `, all stored after ${took()}.` : `, waiting for ${took()}.`);
        return total >= accepted ? null : 0.3;
      } catch (problem) {
        if (signal.aborted) return null;
        say(bar.value, `. ${problem.message} Asking again.`);
        return problem.retryAfter ?? 2;
      }
    });
    stops.add(stop);
  }

  return h(
    "section",
    { class: "card", "aria-labelledby": "try-many" },
    h("h2", { id: "try-many" }, "A thousand"),
    h(
      "p",
      {},
      "One request with a thousand leads that share a telephone number, by which they are counted in the list.",
    ),
    h("div", { class: "buttons" }, button),
    bar,
    text,
    more,
  );
}
