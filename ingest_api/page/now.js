// The view Now: how the service is, refreshed while it is seen.

import { ask, has, pause, SILENT } from "./api.js";
import { barAt, described, drawChart } from "./chart.js";
import { h, setText, symbol } from "./dom.js";
import { Flow, RANGES, SERIES } from "./flow.js";
import { clock, duration, hour, NOTHING, number, rate } from "./format.js";
import { panels, serverList } from "./now_panels.js";
import { poll } from "./poll.js";
import { findings, LedgerWatch } from "./state.js";

const REFRESH = 2; // seconds between two readings
const STALE = 8; // seconds after which the last reading is not current
const WORDS = { ok: "Good", warn: "Attention", bad: "Alarm", unknown: "Unknown" };

export function showNow(main, route, noteStatus) {
  const flow = new Flow();
  const watch = new LedgerWatch();
  let range = Object.keys(RANGES).find((each) => each === route.query.get("range")) ?? "15m";
  let status = null;
  let failures = 0;
  let problem = null;
  let readAt = 0; // when the last reading came
  let freshFrom = Date.now(); // from when on its age counts: the page may have been hidden
  let pointed = null;
  let chartProblem = null;
  let stopStats = null;

  const page = panels(range);
  main.replaceChildren(...page.sections);

  async function readStatus(signal) {
    try {
      const { data } = await ask("api/status", { signal, timeout: 10 });
      failures = 0;
      problem = null;
      readAt = freshFrom = Date.now();
      if (flow.take(data) || status === null) {
        const isBack = status !== null && !status.database && data.database;
        status = data;
        if (isBack) readStatsAgain();
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
    if (status === null) return 0.2;
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
    return Math.max(RANGES[range].refresh, chartProblem?.retryAfter ?? 0);
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
    page.ledger.replaceChildren(symbol(ledger.level), h("span", ledger.text));
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
      if (page.state.dataset.kind === "stale" && status !== null) showReading();
      return;
    }
    const sentence = readAt ? `Not current since ${clock(readAt)}: the API does not answer` : "The API does not answer";
    showState([{ level: "unknown", kind: "stale", sentence, detail: `${said(problem)}The page goes on asking.` }]);
  }

  function showState(found) {
    const [{ level, kind, sentence, detail }, ...others] = found;
    if (page.state.dataset.level !== level) page.symbol.replaceChildren(symbol(level));
    page.state.dataset.level = level;
    setText(page.word, WORDS[level]);
    setText(page.sentence, sentence);
    setText(page.detail, detail);
    setText(page.also, others.length ? `Also: ${others.map((each) => each.sentence).join("; ")}.` : "");
    page.toTry.hidden = kind !== "ok" || !status.embedded || !has("ingest");
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
    setText(page.when, pointed === null ? "now" : hour(bar.start * 1000));
    SERIES.forEach((name, index) => setText(page.legend[name], rate(bar.rates?.[index])));
    page.chart.setAttribute("aria-label", described(bars, RANGES[range].label));
    const note = chartProblem ? `${said(chartProblem)}The last bars are what this page has counted itself.` : "";
    setText(page.chartNote, note);
  }

  function showTable() {
    if (!page.table.open) return;
    const rows = flow
      .bars(range)
      .reverse()
      .map(({ start, counts }) =>
        h(
          "tr",
          h("th", { scope: "row" }, hour(start * 1000)),
          SERIES.map((_, index) => h("td", number(counts?.[index]))),
        ),
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
  return problem.status
    ? `It said ${problem.status}${id}: ${problem.message.replace(/\.?$/, ".")} `
    : `${problem.message} `;
}
