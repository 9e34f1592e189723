// The log-in.

import { logIn } from "./api.js";
import { field, h, heading, showFieldErrors } from "./dom.js";
import { problemBox } from "./problem.js";

const IDS = { email: "login-email", password: "login-password" };

// `message` says why there is a log-in again; `onEnd` is called when the token is no longer taken.
export function showLogin(main, message, onDone, onEnd) {
  const email = h("input", { type: "email", name: "email", autocomplete: "username", required: true });
  const password = h("input", { type: "password", name: "password", autocomplete: "current-password", required: true });
  const place = h("div#login-message");
  const submit = h("button#login-submit.primary", "Log in");

  async function onSubmit(event) {
    event.preventDefault();
    submit.disabled = true;
    try {
      await logIn(email.value, password.value, onEnd);
    } catch (problem) {
      const rest = showFieldErrors(IDS, problem.fields ?? {});
      place.replaceChildren(problemBox(problem, null, rest));
      submit.disabled = false;
      return;
    }
    onDone();
  }

  if (message) place.append(h("p.note", { role: "alert", "data-level": "warn" }, message));
  main.replaceChildren(
    h(
      "section.login",
      heading("Log in"),
      place,
      h(
        "form#login",
        { novalidate: true, on: { submit: onSubmit } },
        field("login-email", "E-mail address", email),
        field("login-password", "Password", password),
        submit,
      ),
      h("p.hint", "The token stays in the memory of this page: a reload asks again."),
    ),
  );
  email.focus();
}
