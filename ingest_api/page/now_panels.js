// The parts of the view Now, with ids by which they are filled.

import { h, heading, symbol } from "./dom.js";
import { RANGES } from "./flow.js";
import { duration, NOTHING, number } from "./format.js";

const TILES = [
  ["accepted-rate", "Accepted a second"],
  ["stored-rate", "Stored a second"],
  ["refused-rate", "Refused a second"],
  ["waiting", "Waiting"],
  ["oldest", "Oldest waits for"],
  ["delay", "From 202 to row", "How long the first lead of the last batch took from its answer to its row"],
];

export function panels(range) {
  const page = { tiles: {}, legend: {} };
  page.symbol = h("div", { class: "state-symbol" }, symbol("unknown"));
  page.word = h("p", { id: "state-word" }, "");
  page.sentence = h("p", { id: "state-sentence" }, "Reading …");
  page.detail = h("p", { id: "state-detail" });
  page.also = h("p", { id: "state-also" });
  page.toLetters = h("a", { id: "to-letters", href: "#letters", hidden: true }, "Show the dead letters");
  page.toTry = h("a", { id: "to-try", href: "#try", hidden: true }, "Send some leads");
  page.live = h("p", { id: "state-live", class: "unseen", role: "status", "aria-live": "polite" });
  page.asOf = h("span", { id: "as-of" });
  page.state = h(
    "section",
    { id: "state", "aria-label": "State", "data-level": "unknown" },
    page.symbol,
    h("div", {}, page.word, page.sentence, page.detail, page.also, page.toLetters, page.toTry),
  );
  const tiles = TILES.map(([id, label, title]) => {
    page.tiles[id] = h("dd", { id }, NOTHING);
    return h("div", { class: "tile", title }, h("dt", {}, label), page.tiles[id]);
  });
  page.ledger = h("p", { id: "ledger", "data-level": "unknown" }, symbol("unknown"), h("span", {}, "Reading …"));
  page.range = h(
    "fieldset",
    { id: "chart-range", class: "switch" },
    h("legend", { class: "unseen" }, "Range of the chart"),
    Object.entries(RANGES).map(([name, { label }]) => [
      h("input", {
        type: "radio",
        name: "range",
        id: `range-${name}`,
        value: name,
        checked: name === range,
        class: "unseen",
      }),
      h("label", { for: `range-${name}` }, label),
    ]),
  );
  page.chart = h("div", { id: "chart", role: "img", "aria-label": "Leads a second" });
  page.when = h("span", { id: "chart-when" }, "now");
  const legend = [
    ["accepted", "accepted"],
    ["stored", "of these stored"],
    ["refused", "refused"],
  ].map(([name, label]) => {
    page.legend[name] = h("b", { id: `legend-${name}` }, NOTHING);
    return h("li", {}, h("span", { class: `swatch ${name}` }), `${label} `, page.legend[name]);
  });
  page.chartNote = h("p", { id: "chart-note", class: "hint" });
  page.rows = h("tbody");
  page.table = h(
    "details",
    { id: "chart-table" },
    h("summary", {}, "The same as a table"),
    h(
      "table",
      {},
      h("caption", { class: "unseen" }, "Leads by time, newest first"),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          ["From", "Accepted", "Of these stored", "Refused"].map((each) => h("th", { scope: "col" }, each)),
        ),
      ),
      page.rows,
    ),
  );
  page.servers = h("ul", { id: "servers" });
  page.sections = [
    h("div", { class: "title" }, heading("Now"), page.asOf),
    page.live,
    page.state,
    h("dl", { id: "tiles" }, tiles),
    h(
      "section",
      { class: "card ledger", "aria-labelledby": "ledger-heading" },
      h("h2", { id: "ledger-heading" }, "Ledger"),
      page.ledger,
      h("p", { class: "hint" }, "Where each accepted lead is"),
    ),
    h(
      "div",
      { class: "beside" },
      h(
        "section",
        { class: "card", "aria-labelledby": "chart-heading" },
        h("div", { class: "title" }, h("h2", { id: "chart-heading" }, "Leads a second"), page.range),
        h("div", { class: "legend" }, page.when, h("ul", {}, legend)),
        page.chart,
        page.chartNote,
        page.table,
      ),
      h(
        "section",
        { class: "card", "aria-labelledby": "servers-heading" },
        h("h2", { id: "servers-heading" }, "Servers"),
        page.servers,
      ),
    ),
  ];
  return page;
}

export function serverList({ queue, database, servers }) {
  const found = [];
  const add = (level, name, text) =>
    found.push(h("li", { "data-level": level }, symbol(level), h("div", {}, h("b", {}, name), h("span", {}, text))));
  for (const each of servers.queue ?? []) {
    const name = servers.queue.length > 1 ? `Queue ${each.shard}` : "Queue";
    add(each.error ? "bad" : "ok", name, each.error ?? each.primary ?? "answers");
    for (const replica of each.replicas ?? [])
      add("ok", `${name}, replica`, `${replica.address}, ${number(replica.lag_bytes)} bytes behind`);
  }
  if (!servers.queue?.length) add(queue ? "ok" : "bad", "Queue", queue ? "answers" : "does not answer");
  const { primary, members = {}, replica_lag_seconds: lag } = servers.database ?? {};
  add(database ? "ok" : "bad", "Database", database ? (primary ?? "answers") : "does not answer");
  for (const [address, state] of Object.entries(members)) {
    if (address !== primary || state !== "ONLINE")
      add(state === "ONLINE" ? "ok" : "warn", "Database server", `${address}, ${state}`);
  }
  if (lag !== undefined && lag !== null) add("ok", "Database replica", `${duration(lag)} behind`);
  return found;
}
