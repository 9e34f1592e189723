// Shows an error as the API says it, with the request id.

import { button, h, symbol } from "./dom.js";
import { poll } from "./poll.js";

export function problemBox(problem, again = null, fields = problem.fields ?? {}) {
  const named = Object.entries(fields).map(([name, messages]) => h("li", h("b", name), ` ${messages.join(" ")}`));
  const text = h(
    "div",
    h("p", problem.status ? h("b", `${problem.status} `) : null, problem.message),
    problem.retryAfter ? h("p", `Try again in ${problem.retryAfter} s.`) : null,
    named.length ? h("ul", named) : null,
    problem.requestId ? h("p.request-id", "Request ", h("code", problem.requestId)) : null,
    again ? button(".again", "Try again", again) : null,
  );
  return h("div.problem", { role: "alert", "data-level": "bad" }, symbol("bad"), text);
}

// Shows the problem in `place`, and asks again by itself when that may help. Returns what calls that off.
export function showProblem(place, problem, again) {
  const isPassing = problem.status === 0 || problem.status === 429 || problem.status >= 502;
  place.replaceChildren(problemBox(problem, again));
  if (!isPassing) return () => {};
  let isFirst = true;
  return poll(async () => {
    if (!isFirst) again();
    const seconds = isFirst ? (problem.retryAfter ?? 5) : null;
    isFirst = false;
    return seconds;
  });
}
