// Makes elements. Text is only ever set as text, and styles only through the style sheet.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (value !== null && value !== undefined && value !== false) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

// `what` is a tag with its id and classes: "p#total.hint". An object before the children has properties.
export function h(what, ...children) {
  const properties = children[0]?.constructor === Object ? children.shift() : {};
  const [name, ...classes] = what.split(".");
  const [tag, id] = name.split("#");
  const element = document.createElement(tag);
  if (id) element.id = id;
  element.classList.add(...classes);
  return fill(element, properties, children);
}

export const svg = (tag, properties = {}, ...children) =>
  fill(document.createElementNS(SVG, tag), properties, children);

// A button; one that is `ariaDisabled` does nothing, and unlike a disabled one keeps the focus.
export function button(what, text, click, properties = {}) {
  const onClick = ({ currentTarget }) => currentTarget.ariaDisabled === "true" || click();
  return h(`button${what}`, { type: "button", ...properties, on: { click: onClick } }, text);
}

// A place for words that are read out when they change, and behind them for numbers that run, which are not.
export function spoken(what, properties = {}) {
  const said = h("span", { role: "status" });
  const running = h("span");
  const say = (words, numbers = "") => {
    if (typeof words === "string") setText(said, words);
    else said.replaceChildren(...words);
    setText(running, numbers);
  };
  return { element: h(`div${what}`, properties, said, running), say };
}

// Leaves the element alone when nothing changes, so that a selection in it stays.
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const SHAPES = {
  ok: "M5 12.5l4.5 4.5L19 7.5",
  warn: "M12 4v10M12 19v.5",
  bad: "M6 6l12 12M18 6L6 18",
  unknown: "M8 8.5a4 4 0 1 1 5.5 3.7c-1 .5-1.5 1-1.5 2.3M12 19v.5",
};

// A symbol for each level, so that no colour has to be told from another.
export function symbol(level) {
  const path = svg("path", { d: SHAPES[level] });
  return svg("svg", { class: "symbol", viewBox: "0 0 24 24", "aria-hidden": "true", focusable: "false" }, path);
}

export function heading(text) {
  return h("h1#heading", { tabindex: "-1" }, text);
}

export function card(id, title, ...children) {
  return h("section.card", { "aria-labelledby": id }, h(`h2#${id}`, title), children);
}

// A field with its label and a place for the API's messages about it.
export function field(id, label, input, hint) {
  input.id = id;
  const error = h(`p#${id}-error.field-error`);
  const help = hint ? h(`p#${id}-hint.hint`, hint) : null;
  input.setAttribute("aria-describedby", help ? `${id}-hint ${id}-error` : `${id}-error`);
  return h("div.field", h("label", { for: id }, label), input, help, error);
}

// Shows messages beside the fields of `ids` by their API name, and returns those that belong to none.
export function showFieldErrors(ids, errors) {
  const rest = {};
  for (const id of Object.values(ids)) {
    document.getElementById(id).removeAttribute("aria-invalid");
    document.getElementById(`${id}-error`).textContent = "";
  }
  for (const [name, messages] of Object.entries(errors)) {
    const id = ids[name] ?? ids[name.split(".")[0]];
    if (!id) {
      rest[name] = messages;
      continue;
    }
    document.getElementById(id).setAttribute("aria-invalid", "true");
    const place = document.getElementById(`${id}-error`);
    const text = name in ids ? messages.join(" ") : `${name}: ${messages.join(" ")}`;
    place.textContent = [place.textContent, text].filter(Boolean).join(" ");
  }
  const first = document.querySelector('[aria-invalid="true"]');
  first?.closest("details")?.setAttribute("open", "");
  first?.focus();
  return rest;
}
