// Page numbers: the first, those around, the last, and a field for any other.

import { h } from "./dom.js";
import { number } from "./format.js";

export function pageLinks(page, last, link, go) {
  const wanted = [1, page - 2, page - 1, page, page + 1, page + 2, last];
  const numbers = [...new Set(wanted.filter((each) => each >= 1 && each <= last))].sort((a, b) => a - b);
  const items = numbers.map((each, index) => [
    index && each > numbers[index - 1] + 1 ? h("li", { "aria-hidden": "true" }, "…") : null,
    h(
      "li",
      h(
        "a",
        { href: link(each), "aria-label": `Page ${number(each)}`, "aria-current": each === page ? "page" : null },
        number(each),
      ),
    ),
  ]);
  const input = h("input#page-number", { type: "number", min: 1, max: last, required: true });
  const onSubmit = (event) => {
    event.preventDefault();
    go(Math.min(last, Math.max(1, Math.trunc(input.value) || 1)));
  };
  const list = h("ol", items);
  if (last <= 7) return [list];
  const label = h("label", { for: "page-number" }, "Page");
  const form = { id: "go-to-page", class: "inline", novalidate: true, on: { submit: onSubmit } };
  return [list, h("form", form, label, input, h("button", "Go"))];
}
