// The parts of the view Leads, with ids by which they are filled.

import { field, h, heading } from "./dom.js";
import { moment, NOTHING } from "./format.js";

const COLUMNS = {
  createdAt: "Created",
  firstName: "First name",
  lastName: "Last name",
  email: "E-mail address",
  phone: "Phone",
  source: "Source",
};
export const SORTS = ["createdAt", "firstName", "lastName", "email"];
const SIZES = [10, 25, 50, 100];

export function leadRow(lead) {
  const link = h("a", { href: `#lead/${lead.id}` }, moment(lead.createdAt));
  const source = [lead.source ?? NOTHING, lead.duplicateOf ? h("span", { class: "tag" }, "duplicate") : null];
  const cells = { createdAt: link, source };
  return h(
    "tr",
    { "data-lead": lead.id },
    Object.entries(COLUMNS).map(([name, label]) =>
      h("td", { "data-label": label }, h("span", {}, cells[name] ?? lead[name])),
    ),
  );
}

export function leadsPanels(isNarrowed, exporting) {
  const page = { heads: {}, arrows: {} };
  page.find = h("input", { id: "find-text", type: "text", autocomplete: "off", spellcheck: "false" });
  page.findForm = h(
    "form",
    { id: "find", class: "inline", role: "search", novalidate: true },
    h("label", { for: "find-text" }, "Lead id or e-mail address"),
    page.find,
    h("button", { class: "primary" }, "Find"),
  );
  page.inputs = {
    email: h("input", { type: "email", autocomplete: "off" }),
    phone: h("input", { type: "tel", autocomplete: "off" }),
    source: h("input", { type: "text", autocomplete: "off" }),
    duplicates: h(
      "select",
      {},
      h("option", { value: "" }, "with others"),
      h("option", { value: "exclude" }, "left out"),
      h("option", { value: "only" }, "alone"),
    ),
    from: h("input", { type: "datetime-local", step: "1" }),
    to: h("input", { type: "datetime-local", step: "1" }),
  };
  const { email, phone, source, duplicates, from, to } = page.inputs;
  page.clear = h("button", { id: "filter-clear", type: "button" }, "Clear");
  page.filterForm = h(
    "form",
    { id: "filters", novalidate: true },
    h(
      "div",
      { class: "fields" },
      field("filter-email", "E-mail address", email),
      field("filter-phone", "Phone", phone),
      field("filter-source", "Source", source),
      field("filter-duplicates", "Duplicates", duplicates),
      field("filter-from", "Created from (your time)", from),
      field("filter-to", "Created to (your time)", to),
    ),
    h("div", { class: "buttons" }, h("button", { id: "filter-apply", class: "primary" }, "Show"), page.clear),
  );
  page.total = h("p", { id: "leads-total", tabindex: "-1", role: "status" });
  page.again = h("button", { id: "leads-again", type: "button" }, "Refresh");
  page.size = h(
    "select",
    { id: "page-size" },
    SIZES.map((each) => h("option", { value: each }, each)),
  );
  page.problem = h("div", { id: "leads-problem" });
  page.rows = h("tbody");
  for (const [name, label] of Object.entries(COLUMNS)) {
    const arrow = (page.arrows[name] = h("span", { "aria-hidden": "true" }));
    const content = SORTS.includes(name)
      ? h("button", { id: `sort-${name}`, type: "button" }, label, " ", arrow)
      : label;
    page.heads[name] = h("th", { scope: "col" }, content);
  }
  page.table = h(
    "table",
    { id: "leads-table", class: "cards", hidden: true },
    h("caption", { class: "unseen" }, "Leads"),
    h("thead", {}, h("tr", {}, Object.values(page.heads))),
    page.rows,
  );
  page.empty = h("p", { id: "leads-empty" });
  page.pages = h("nav", { id: "pages", "aria-label": "Pages" });
  page.results = h("div", { id: "results" }, page.problem, page.table, page.empty, page.pages);
  const isOpen = isNarrowed || matchMedia("(min-width: 48rem)").matches;
  page.sections = [
    heading("Leads"),
    h(
      "section",
      { class: "card", "aria-label": "Find" },
      page.findForm,
      h("details", { open: isOpen }, h("summary", {}, "Filters"), page.filterForm),
    ),
    h(
      "section",
      { class: "card", "aria-label": "Leads" },
      h(
        "div",
        { class: "title" },
        page.total,
        h("div", { class: "buttons" }, h("label", { for: "page-size" }, "On a page"), page.size, page.again),
      ),
      page.results,
      exporting?.element,
    ),
  ];
  return page;
}
