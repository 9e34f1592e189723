// The view Now: how the service is, refreshed while it is seen.

import { ask, has, pause, SILENT } from "./api.js";
import { barAt, drawChart } from "./chart.js";
import { h, heading, setText, symbol } from "./dom.js";
import { Flow, RANGES, SERIES } from "./flow.js";
import { clock, duration, hour, NOTHING, number, rate } from "./format.js";
import { poll } from "./poll.js";
import { findings, LedgerWatch } from "./state.js";

const REFRESH = 2; // seconds between two readings
const STALE = 6; // seconds after which the last reading is not current
const WORDS = { ok: "Good", warn: "Look", bad: "Alarm", unknown: "Unknown" };
const TILES = [
  ["accepted-rate", "Accepted a second"],
  ["stored-rate", "Stored a second"],
  ["refused-rate", "Refused a second"],
  ["waiting", "Waiting"],
  ["oldest", "Oldest waits for"],
  ["delay", "From 202 to row"],
];

export function showNow(main, route, noteStatus) {
  const flow = new Flow();
  const watch = new LedgerWatch();
  let range = route.query.get("range") in RANGES ? route.query.get("range") : "15m";
  let status = null;
  let failures = 0;
  let problem = null;
  let readAt = 0; // when the last reading came
  let freshFrom = Date.now(); // from when on its age counts: the page may have been hidden
  let pointed = null;
  let chartProblem = null;
  let stopStats = null;

  const page = build(range);
  main.replaceChildren(...page.sections);

  async function readStatus(signal) {
    try {
      const { data } = await ask("api/status", { signal, timeout: 10 });
      failures = 0;
      problem = null;
      readAt = freshFrom = Date.now();
      if (flow.take(data) || status === null) {
        status = data;
        noteStatus(data);
        showReading();
      }
      showAge();
      return REFRESH;
    } catch (error) {
      if (signal.aborted) return null;
      failures += 1;
      problem = error;
      showAge();
      return pause(error, failures);
    }
  }

  async function readStats(signal) {
    const from = new Date(flow.start(range) * 1000).toISOString();
    const asked = flow.now;
    chartProblem = null;
    try {
      const { data } = await ask("api/leads/stats", { signal, query: { from, interval: "minute" } });
      flow.correct(data.items, asked);
    } catch (error) {
      if (signal.aborted) return null;
      chartProblem = error;
    }
    showChart();
    showTable();
    return chartProblem ? (chartProblem.retryAfter ?? RANGES[range].refresh) : RANGES[range].refresh;
  }

  function showReading() {
    const rates = flow.rates();
    const ledger = watch.take(status);
    setTile("accepted-rate", rate(rates?.accepted));
    setTile("stored-rate", rate(rates?.stored));
    setTile("refused-rate", rate(rates?.refused));
    setTile("waiting", number(status.waiting));
    setTile("oldest", status.waiting ? duration(status.oldest_age_seconds) : NOTHING);
    setTile("delay", duration(status.storing_delay_seconds));
    page.ledger.dataset.level = ledger.level;
    page.ledger.replaceChildren(symbol(ledger.level), h("span", {}, ledger.text));
    page.servers.replaceChildren(...serverList(status));
    showState(findings(status, ledger, rates));
    showChart();
  }

  // Says when the last reading is too old to be believed.
  function showAge() {
    const isStale = Date.now() - freshFrom > STALE * 1000 || (problem !== null && status === null);
    main.dataset.stale = isStale;
    setText(page.asOf, readAt ? `as of ${clock(readAt)}` : "");
    if (!isStale) {
      if (page.state.dataset.kind === "stale") showReading();
      return;
    }
    const sentence = readAt ? `Not current since ${clock(readAt)}: the API does not answer` : "The API does not answer";
    showState([{ level: "bad", kind: "stale", sentence, detail: `${said(problem)}The page goes on asking.` }]);
  }

  function showState(found) {
    const [{ level, kind, sentence, detail }, ...others] = found;
    if (page.state.dataset.level !== level) page.symbol.replaceChildren(symbol(level));
    page.state.dataset.level = level;
    setText(page.word, WORDS[level]);
    setText(page.sentence, sentence);
    setText(page.detail, detail);
    setText(page.also, others.length ? `Also: ${others.map((each) => each.sentence).join("; ")}.` : "");
    page.toLetters.hidden = !has("admin") || !found.some((each) => each.kind === "letters");
    const title = `${WORDS[level]}: ${sentence} · Lead Ingest`;
    if (document.title !== title) document.title = title;
    // Read out when the state changes, not with each number in it.
    if (page.state.dataset.kind !== kind) page.live.textContent = `${WORDS[level]}: ${sentence}`;
    page.state.dataset.kind = kind;
  }

  function setTile(id, text) {
    const element = page.tiles[id];
    setText(element, text);
    element.style.setProperty("--characters", Math.max(4, text.length));
  }

  function showChart() {
    const bars = flow.bars(range);
    drawChart(page.chart, bars, pointed);
    const bar = bars[pointed ?? bars.length - 1];
    const rates = bar?.counts?.map((each) => rate(each / bar.seconds)) ?? [NOTHING, NOTHING, NOTHING];
    setText(page.when, pointed === null ? "now" : hour(bar.start * 1000));
    SERIES.forEach((name, index) => setText(page.legend[name], rates[index]));
    const known = bars.filter((each) => each.counts);
    const most = known.reduce((best, each) => (each.counts[0] / each.seconds > best[0] ? [each.counts[0] / each.seconds, each] : best), [0, null]);
    const highest = most[1] ? ` Most accepted: ${rate(most[0])} at ${hour(most[1].start * 1000)}.` : "";
    const label = `Leads a second over ${RANGES[range].label}. Now accepted ${rates[0]}, of these stored ${rates[1]}, refused ${rates[2]}.${highest}`;
    page.chart.setAttribute("aria-label", label);
    const note = chartProblem ? `${said(chartProblem)}The last bars are what this page has counted itself.` : "";
    setText(page.chartNote, note);
  }

  function showTable() {
    if (!page.table.open) return;
    const rows = flow.bars(range).reverse().map(({ start, counts }) =>
      h("tr", {}, h("th", { scope: "row" }, hour(start * 1000)), SERIES.map((_, index) => h("td", {}, number(counts?.[index])))),
    );
    page.rows.replaceChildren(...rows);
  }

  function choose(event) {
    range = event.target.value;
    history.replaceState(null, "", `#now?range=${range}`);
    pointed = null;
    readStatsAgain();
    showChart();
    showTable();
  }

  function readStatsAgain() {
    stopStats?.();
    stopStats = poll(readStats);
  }

  function point(event) {
    const bars = flow.bars(range);
    pointed = event.type === "pointermove" ? barAt(page.chart, bars, event.clientX) : null;
    showChart();
  }

  function onVisibility() {
    if (!document.hidden) freshFrom = Date.now();
  }

  page.range.addEventListener("change", choose);
  page.table.addEventListener("toggle", showTable);
  page.chart.addEventListener("pointermove", point);
  page.chart.addEventListener("pointerleave", point);
  document.addEventListener("visibilitychange", onVisibility);
  const resized = new ResizeObserver(showChart);
  resized.observe(page.chart);
  const ticker = setInterval(() => document.hidden || showAge(), 1000);
  const stopStatus = poll(readStatus);
  readStatsAgain();

  return {
    update() {},
    stop() {
      stopStatus();
      stopStats();
      clearInterval(ticker);
      resized.disconnect();
      document.removeEventListener("visibilitychange", onVisibility);
      delete main.dataset.stale;
    },
  };
}

// What the API said, as a sentence before another one.
function said(problem) {
  if (problem === null || problem.message === SILENT) return "";
  const id = problem.requestId ? `, request ${problem.requestId}` : "";
  return problem.status ? `It said ${problem.status}${id}: ${problem.message.replace(/\.?$/, ".")} ` : `${problem.message} `;
}

function build(range) {
  const page = { tiles: {}, legend: {} };
  page.symbol = h("div", { class: "state-symbol" }, symbol("unknown"));
  page.word = h("p", { id: "state-word" }, "");
  page.sentence = h("p", { id: "state-sentence" }, "Reading …");
  page.detail = h("p", { id: "state-detail" });
  page.also = h("p", { id: "state-also" });
  page.toLetters = h("a", { id: "to-letters", href: "#letters", hidden: true }, "Show the dead letters");
  page.live = h("p", { id: "state-live", class: "unseen", role: "status", "aria-live": "polite" });
  page.asOf = h("span", { id: "as-of" });
  page.state = h(
    "section",
    { id: "state", "aria-label": "State", "data-level": "unknown" },
    page.symbol,
    h("div", {}, page.word, page.sentence, page.detail, page.also, page.toLetters),
  );
  const tiles = TILES.map(([id, label]) => {
    page.tiles[id] = h("dd", { id }, NOTHING);
    return h("div", { class: "tile" }, h("dt", {}, label), page.tiles[id]);
  });
  page.ledger = h("p", { id: "ledger", "data-level": "unknown" }, symbol("unknown"), h("span", {}, "Reading …"));
  page.range = h(
    "fieldset",
    { id: "chart-range", class: "switch" },
    h("legend", { class: "unseen" }, "Range of the chart"),
    Object.entries(RANGES).map(([name, { label }]) => [
      h("input", { type: "radio", name: "range", id: `range-${name}`, value: name, checked: name === range, class: "unseen" }),
      h("label", { for: `range-${name}` }, label),
    ]),
  );
  page.chart = h("div", { id: "chart", role: "img", "aria-label": "Leads a second" });
  page.when = h("span", { id: "chart-when" }, "now");
  const legend = [["accepted", "accepted"], ["stored", "of these stored"], ["refused", "refused"]].map(([name, label]) => {
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
      h("thead", {}, h("tr", {}, ["From", "Accepted", "Of these stored", "Refused"].map((each) => h("th", { scope: "col" }, each)))),
      page.rows,
    ),
  );
  page.servers = h("ul", { id: "servers" });
  page.sections = [
    h("div", { class: "title" }, heading("Now"), page.asOf),
    page.live,
    page.state,
    h("dl", { id: "tiles" }, tiles),
    h("section", { class: "card ledger", "aria-labelledby": "ledger-heading" }, h("h2", { id: "ledger-heading" }, "Ledger"), page.ledger),
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
      h("section", { class: "card", "aria-labelledby": "servers-heading" }, h("h2", { id: "servers-heading" }, "Servers"), page.servers),
    ),
  ];
  return page;
}

function serverList({ queue, database, servers }) {
  const found = [];
  const add = (level, name, text) => found.push(h("li", { "data-level": level }, symbol(level), h("div", {}, h("b", {}, name), h("span", {}, text))));
  for (const each of servers.queue ?? []) {
    const name = servers.queue.length > 1 ? `Queue ${each.shard}` : "Queue";
    add(each.error ? "bad" : "ok", name, each.error ?? each.primary ?? "answers");
    for (const replica of each.replicas ?? []) add("ok", `${name}, replica`, `${replica.address}, ${number(replica.lag_bytes)} bytes behind`);
  }
  if (!servers.queue?.length) add(queue ? "ok" : "bad", "Queue", queue ? "answers" : "does not answer");
  const { primary, members = {}, replica_lag_seconds: lag } = servers.database ?? {};
  add(database ? "ok" : "bad", "Database", database ? (primary ?? "answers") : "does not answer");
  for (const [address, state] of Object.entries(members)) {
    if (address !== primary || state !== "ONLINE") add(state === "ONLINE" ? "ok" : "warn", "Database server", `${address}, ${state}`);
  }
  if (lag !== undefined && lag !== null) add("ok", "Database replica", `${duration(lag)} behind`);
  return found;
}
