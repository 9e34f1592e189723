// The view Leads: the list, with its sorts, pages and filters.

import { ask, has } from "./api.js";
import { setText, showFieldErrors } from "./dom.js";
import { exportPart } from "./export.js";
import { count, number } from "./format.js";
import { leadRow, leadsPanels, SORTS } from "./leads_panels.js";
import { pageLinks } from "./pages.js";
import { problemBox, showProblem } from "./problem.js";

const DEFAULTS = {
  sort: "createdAt",
  order: "DESC",
  page: "1",
  limit: "25",
  source: "",
  duplicates: "",
  from: "",
  to: "",
};
const IDS = {
  email: "filter-email",
  phone: "filter-phone",
  source: "filter-source",
  duplicates: "filter-duplicates",
  createdFrom: "filter-from",
  createdTo: "filter-to",
};
const LEAD_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

// Filters that name a person stay in memory: they never come into the address or the history.
let person = { email: "", phone: "" };
let lastHash = "#leads";

export const forgetFilters = () => ([person, lastHash] = [{ email: "", phone: "" }, "#leads"]);
export const filterByPhone = (phone) => (person = { email: "", phone });
export const wayBack = () => lastHash;

export function showLeads(main, route) {
  let state = parsed(route.query);
  let running = null;
  let callOff = () => {};

  const exporting = has("export") ? exportPart(exportQuery) : null;
  const isNarrowed = Object.values(filters()).some(Boolean);
  const page = leadsPanels(isNarrowed, exporting);
  main.replaceChildren(...page.sections);

  function hash(changes) {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries({ ...state, page: "1", ...changes })) {
      if (String(value) !== DEFAULTS[name]) query.set(name, value);
    }
    return query.size ? `#leads?${query}` : "#leads";
  }

  function go(changes) {
    const target = hash(changes);
    if (location.hash === target) load();
    else location.hash = target;
  }

  function filters() {
    return {
      ...person,
      source: state.source,
      duplicates: state.duplicates,
      createdFrom: state.from,
      createdTo: state.to,
    };
  }

  function exportQuery() {
    return { ...filters(), sortOrder: state.sort === "createdAt" ? state.order : "ASC" };
  }

  async function load() {
    lastHash = location.hash || "#leads";
    running?.abort();
    callOff();
    const mine = (running = new AbortController());
    page.results.setAttribute("aria-busy", "true");
    showControls();
    try {
      const query = { page: state.page, limit: state.limit, sortBy: state.sort, sortOrder: state.order, ...filters() };
      const { data } = await ask("api/leads", { query, signal: mine.signal });
      page.problem.replaceChildren();
      showFieldErrors(IDS, {});
      showList(data);
    } catch (problem) {
      if (mine.signal.aborted) return;
      const rest = showFieldErrors(IDS, problem.fields);
      if (problem.status === 400) page.problem.replaceChildren(problemBox(problem, null, rest));
      else callOff = showProblem(page.problem, problem, load);
    }
    page.results.setAttribute("aria-busy", "false");
  }

  function showControls() {
    for (const [name, input] of Object.entries(page.inputs))
      input.value = person[name] ?? shownValue(name, state[name]);
    page.size.value = state.limit;
    for (const name of SORTS) {
      const isSorted = state.sort === name;
      const isRising = state.order === "ASC";
      page.heads[name].setAttribute("aria-sort", isSorted ? (isRising ? "ascending" : "descending") : "none");
      setText(page.arrows[name], isSorted ? (isRising ? "↑" : "↓") : "↕");
    }
  }

  function showList({ items, pagination }) {
    const { total, page: at, total_pages: last } = pagination;
    const isFiltered = Object.values(filters()).some(Boolean);
    const place = last > 1 ? `, page ${number(at)} of ${number(last)}` : "";
    setText(page.total, `${count(total, "lead")}${isFiltered ? " match" : ""}${place}`);
    page.rows.replaceChildren(...items.map(leadRow));
    page.table.hidden = !items.length;
    const empty = total
      ? "This page is past the last one."
      : isFiltered
        ? "No stored lead matches. One that still waits is found by its id."
        : "No lead is stored yet.";
    setText(page.empty, items.length ? "" : empty);
    const hadFocus = page.pages.contains(document.activeElement);
    page.pages.replaceChildren(
      ...pageLinks(
        at,
        Math.max(1, last),
        (each) => hash({ page: each }),
        (each) => go({ page: each }),
      ),
    );
    if (hadFocus) page.total.focus();
  }

  function onSort(name) {
    const first = name === "createdAt" ? "DESC" : "ASC";
    const order = state.sort === name ? (state.order === "ASC" ? "DESC" : "ASC") : first;
    go({ sort: name, order });
  }

  function onFind(event) {
    event.preventDefault();
    const text = page.find.value.trim();
    if (LEAD_ID.test(text)) {
      location.hash = `#lead/${text.toLowerCase()}`;
    } else {
      person = { email: text, phone: "" };
      go({ source: "", duplicates: "", from: "", to: "" });
    }
  }

  function onFilter(event) {
    event.preventDefault();
    const { email, phone, source, duplicates, from, to } = page.inputs;
    person = { email: email.value.trim(), phone: phone.value.trim() };
    // A field that nobody touched keeps what the address says, to the microsecond.
    const time = (name, { value }) => (value === shownValue(name, state[name]) ? state[name] : utc(value));
    go({ source: source.value.trim(), duplicates: duplicates.value, from: time("from", from), to: time("to", to) });
  }

  function onClear() {
    person = { email: "", phone: "" };
    page.find.value = "";
    go({ source: "", duplicates: "", from: "", to: "" });
  }

  page.findForm.addEventListener("submit", onFind);
  page.filterForm.addEventListener("submit", onFilter);
  page.clear.addEventListener("click", onClear);
  page.again.addEventListener("click", load);
  page.size.addEventListener("change", () => go({ limit: page.size.value }));
  for (const name of SORTS) page.heads[name].querySelector("button").addEventListener("click", () => onSort(name));
  load();

  return {
    update(next) {
      state = parsed(next.query);
      load();
    },
    stop() {
      running.abort();
      callOff();
      exporting?.stop();
    },
  };
}

function parsed(query) {
  return Object.fromEntries(Object.entries(DEFAULTS).map(([name, value]) => [name, query.get(name) ?? value]));
}

// What a field for a time takes is the viewer's time, what the address and the API have is UTC.
const utc = (text) => (text ? new Date(text).toISOString() : "");

function shownValue(name, value) {
  if (!["from", "to"].includes(name) || !value) return value;
  const time = new Date(value);
  return Number.isNaN(time.valueOf())
    ? ""
    : new Date(time - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
