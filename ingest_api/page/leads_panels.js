// The parts of the view Leads, with ids by which they are filled.

import { button, field, h, heading } from "./dom.js";
import { LABELS } from "./fields.js";
import { moment, NOTHING } from "./format.js";

export const SORTS = ["createdAt", "firstName", "lastName", "email"];
const COLUMNS = [...SORTS, "phone", "source"];
const SIZES = [10, 25, 50, 100];

export function leadRow(lead) {
  const link = h("a", { href: `#lead/${lead.id}` }, moment(lead.createdAt));
  const source = [lead.source ?? NOTHING, lead.duplicateOf ? h("span.tag", "duplicate") : null];
  const cells = { createdAt: link, source };
  return h(
    "tr",
    { "data-lead": lead.id },
    COLUMNS.map((name) => h("td", { "data-label": LABELS[name] }, h("span", cells[name] ?? lead[name]))),
  );
}

// `on` has what the buttons do: clear, again, and sort, which takes the column.
export function leadsPanels(isNarrowed, exporting, on) {
  const page = { heads: {}, arrows: {} };
  page.find = h("input#find-text", { type: "text", autocomplete: "off", spellcheck: "false" });
  page.findForm = h(
    "form#find.inline",
    { role: "search", novalidate: true },
    h("label", { for: "find-text" }, "Lead id or e-mail address"),
    page.find,
    h("button.primary", "Find"),
  );
  page.inputs = {
    email: h("input", { type: "email", autocomplete: "off" }),
    phone: h("input", { type: "tel", autocomplete: "off" }),
    source: h("input", { type: "text", autocomplete: "off" }),
    duplicates: h(
      "select",
      h("option", { value: "" }, "included"),
      h("option", { value: "exclude" }, "left out"),
      h("option", { value: "only" }, "only"),
    ),
    from: h("input", { type: "datetime-local", step: "1" }),
    to: h("input", { type: "datetime-local", step: "1" }),
  };
  const { email, phone, source, duplicates, from, to } = page.inputs;
  page.clear = button("#filter-clear", "Clear", on.clear);
  page.filterForm = h(
    "form#filters",
    { novalidate: true },
    h(
      "div.fields",
      field("filter-email", "E-mail address", email),
      field("filter-phone", "Phone", phone),
      field("filter-source", "Source", source),
      field("filter-duplicates", "Duplicates", duplicates),
      field("filter-from", "Created from (your time)", from),
      field("filter-to", "Created to (your time)", to),
    ),
    h("div.buttons", h("button#filter-apply.primary", "Show"), page.clear),
  );
  page.total = h("p#leads-total", { tabindex: "-1", role: "status" });
  page.again = button("#leads-again", "Refresh", on.again);
  page.size = h(
    "select#page-size",
    SIZES.map((each) => h("option", { value: each }, each)),
  );
  page.problem = h("div#leads-problem");
  page.rows = h("tbody");
  for (const name of COLUMNS) {
    const arrow = (page.arrows[name] = h("span", { "aria-hidden": "true" }));
    const content = SORTS.includes(name)
      ? button(`#sort-${name}`, [LABELS[name], " ", arrow], () => on.sort(name))
      : LABELS[name];
    page.heads[name] = h("th", { scope: "col" }, content);
  }
  page.table = h(
    "table#leads-table.cards",
    { hidden: true },
    h("caption.unseen", "Leads"),
    h("thead", h("tr", Object.values(page.heads))),
    page.rows,
  );
  page.empty = h("p#leads-empty");
  page.pages = h("nav#pages", { "aria-label": "Pages" });
  page.results = h("div#results", page.problem, page.table, page.empty, page.pages);
  const isOpen = isNarrowed || matchMedia("(min-width: 48rem)").matches;
  page.sections = [
    heading("Leads"),
    h(
      "section.card",
      { "aria-label": "Find" },
      page.findForm,
      h("details", { open: isOpen }, h("summary", "Filters"), page.filterForm),
    ),
    h(
      "section.card",
      { "aria-label": "Leads" },
      h(
        "div.title",
        page.total,
        h("div.buttons", h("label", { for: "page-size" }, "On a page"), page.size, page.again),
      ),
      page.results,
      exporting?.element,
    ),
  ];
  return page;
}
