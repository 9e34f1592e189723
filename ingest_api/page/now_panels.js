// The parts of the view Now, with ids by which they are filled.

import { card, h, heading, symbol } from "./dom.js";
import { RANGES } from "./flow.js";
import { duration, NOTHING, number } from "./format.js";

const TILES = [
  ["accepted-rate", "Accepted a second"],
  ["stored-rate", "Stored a second"],
  ["refused-rate", "Refused a second"],
  ["waiting", "Waiting"],
  ["oldest", "Oldest waits for"],
  ["delay", "From 202 to row", "How long the last batch's first lead took from its answer to its row"],
];

export function panels(range) {
  const page = { tiles: {}, legend: {} };
  page.symbol = h("div.state-symbol", symbol("unknown"));
  page.word = h("p#state-word", "");
  page.sentence = h("p#state-sentence", "Reading …");
  page.detail = h("p#state-detail");
  page.also = h("p#state-also");
  page.toLetters = h("a#to-letters", { href: "#letters", hidden: true }, "Show the dead letters");
  page.toTry = h("a#to-try", { href: "#try", hidden: true }, "Send some leads");
  page.live = h("p#state-live.unseen", { role: "status", "aria-live": "polite" });
  page.asOf = h("span#as-of");
  page.state = h(
    "section#state",
    { "aria-label": "State", "data-level": "unknown" },
    page.symbol,
    h("div", page.word, page.sentence, page.detail, page.also, page.toLetters, page.toTry),
  );
  const tiles = TILES.map(([id, label, title]) => {
    page.tiles[id] = h(`dd#${id}`, NOTHING);
    return h("div.tile", { title }, h("dt", label), page.tiles[id]);
  });
  page.ledger = h("p#ledger", { "data-level": "unknown" }, symbol("unknown"), h("span", "Reading …"));
  page.range = h(
    "fieldset#chart-range.switch",
    h("legend.unseen", "Range of the chart"),
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
  page.chart = h("div#chart", { role: "img", "aria-label": "Leads a second" });
  page.when = h("span#chart-when", "now");
  const legend = [
    ["accepted", "accepted"],
    ["stored", "of these stored"],
    ["refused", "refused"],
  ].map(([name, label]) => {
    page.legend[name] = h(`b#legend-${name}`, NOTHING);
    return h("li", h(`span.swatch.${name}`), `${label} `, page.legend[name]);
  });
  page.chartNote = h("p#chart-note.hint");
  page.rows = h("tbody");
  page.table = h(
    "details#chart-table",
    h("summary", "The same as a table"),
    h(
      "table",
      h("caption.unseen", "Leads by time, newest first"),
      h(
        "thead",
        h(
          "tr",
          ["From", "Accepted", "Of these stored", "Refused"].map((each) => h("th", { scope: "col" }, each)),
        ),
      ),
      page.rows,
    ),
  );
  page.servers = h("ul#servers");
  page.sections = [
    h("div.title", heading("Now"), page.asOf),
    page.live,
    page.state,
    h("dl#tiles", tiles),
    h(
      "section.card.ledger",
      { "aria-labelledby": "ledger-heading" },
      h("h2#ledger-heading", "Ledger"),
      page.ledger,
      h("p.hint", "Where each accepted lead is"),
    ),
    h(
      "div.beside",
      h(
        "section.card",
        { "aria-labelledby": "chart-heading" },
        h("div.title", h("h2#chart-heading", "Leads a second"), page.range),
        h("div.legend", page.when, h("ul", legend)),
        page.chart,
        page.chartNote,
        page.table,
      ),
      card("servers-heading", "Servers", page.servers),
    ),
  ];
  return page;
}

export function serverList({ queue, database, servers }) {
  const found = [];
  const add = (level, name, text) =>
    found.push(h("li", { "data-level": level }, symbol(level), h("div", h("b", name), h("span", text))));
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
