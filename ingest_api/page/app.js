// The frame: which view is shown, and who is logged in.

import { ask, has, logOut, user } from "./api.js";
import { h, setText } from "./dom.js";
import { number } from "./format.js";
import { forgetFilters, showLeads } from "./leads.js";
import { showLead } from "./lead.js";
import { showLetters } from "./letters.js";
import { showLogin } from "./login.js";
import { showNow } from "./now.js";
import { showTry } from "./try.js";

// A view gets the element to fill, its route and `noteStatus`, and returns {stop, update?}.
const VIEWS = {
  now: { show: showNow, tab: "now", label: "Now", may: () => has("read") },
  leads: { show: showLeads, tab: "leads", label: "Leads", may: () => has("read") },
  lead: { show: showLead, tab: "leads", may: () => has("read") },
  letters: { show: showLetters, tab: "letters", label: "Dead letters", may: () => has("admin") },
  try: { show: showTry, tab: "try", label: "Try it", may: () => isEmbedded && has("ingest") && has("read") },
};

const main = document.getElementById("main");
const nav = document.getElementById("nav");
const account = document.getElementById("account");

let isEmbedded = false;
let deadLetters = 0;
let shown = null; // {name, stop, update?}

function route() {
  const [path, query] = location.hash.slice(1).split("?");
  const [name, id] = path.split("/");
  return { name, id, query: new URLSearchParams(query) };
}

function render() {
  if (user === null) return;
  const wanted = route();
  const allowed = Object.keys(VIEWS).filter((each) => VIEWS[each].may());
  const name = allowed.includes(wanted.name) ? wanted.name : allowed[0];
  if (name === undefined) {
    showFrame(null);
    main.replaceChildren(
      h("h1", { id: "heading", tabindex: "-1" }, "Nothing to see"),
      h("p", {}, `The roles of this user show nothing here: ${user.roles.join(", ")}.`),
    );
    return;
  }
  if (name !== wanted.name) history.replaceState(null, "", `#${name}`);
  if (shown?.name === name && shown.update) {
    shown.update(route());
    return;
  }
  shown?.stop();
  document.title = `${VIEWS[name].label ?? "Lead"} · Lead Ingest`;
  showFrame(name);
  shown = { name, ...VIEWS[name].show(main, route(), noteStatus) };
  document.getElementById("heading").focus();
  scrollTo(0, 0);
}

function showFrame(name) {
  const tabs = Object.entries(VIEWS).filter(([, view]) => view.label && view.may());
  nav.replaceChildren(
    ...tabs.map(([each, view]) => {
      const badge = each === "letters" ? [" ", h("span", { id: "letters-badge", class: "badge" })] : null;
      const current = name && each === VIEWS[name].tab ? "page" : null;
      return h("a", { id: `nav-${each}`, href: `#${each}`, "aria-current": current }, view.label, badge);
    }),
  );
  account.replaceChildren(
    h("span", { id: "user" }, user.email),
    h("button", { id: "logout", type: "button", on: { click: () => leave("") } }, "Log out"),
  );
  showBadge();
}

function showBadge() {
  const badge = document.getElementById("letters-badge");
  if (badge) setText(badge, deadLetters ? number(deadLetters) : "");
}

// What a view learns from `status`, or a part of it, says which tabs there are.
function noteStatus(status) {
  const wasEmbedded = isEmbedded;
  isEmbedded = status.embedded ?? isEmbedded;
  deadLetters = status.dead_letters ?? deadLetters;
  if (shown && isEmbedded !== wasEmbedded) showFrame(shown.name);
  else showBadge();
}

function leave(message) {
  shown?.stop();
  shown = null;
  logOut();
  forgetFilters();
  nav.replaceChildren();
  account.replaceChildren();
  document.title = "Log in · Lead Ingest";
  showLogin(main, message, enter, leave);
}

async function enter() {
  if (has("read")) {
    try {
      noteStatus((await ask("api/status", { timeout: 5 })).data);
    } catch {
      // The first view says what is wrong.
    }
  }
  render();
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  document.getElementById("heading").focus();
});
window.addEventListener("hashchange", render);
leave("");
