// Exports what is filtered as a file.

import { open } from "./api.js";
import { button, h } from "./dom.js";
import { bytes } from "./format.js";
import { problemBox } from "./problem.js";

const PIECE = 8e6; // bytes that are put into the file at once

// `query` returns the filters of the list.
export function exportPart(query) {
  const text = h("p#export-text", { role: "status" });
  const progress = h("span#export-progress"); // read out it would be too much
  const place = h("div#export-problem");
  const buttons = ["csv", "ndjson"].map((format) =>
    button(`#export-${format}`, `Export as ${format.toUpperCase()}`, () => run(format)),
  );
  const cancel = button("#export-cancel", "Cancel", () => controller.abort(), { hidden: true });
  let controller = null;

  async function run(format) {
    controller = new AbortController();
    for (const each of buttons) each.ariaDisabled = "true";
    cancel.hidden = false;
    place.replaceChildren();
    text.textContent = "Asking for the export …";
    try {
      const response = await open("api/leads/export", { query: { ...query(), format }, signal: controller.signal });
      const file = await received(response);
      save(file, `leads-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.${format}`);
      text.textContent = `${bytes(file.size)} exported.`;
    } catch (problem) {
      text.textContent = controller.signal.aborted ? "The export was cancelled." : "There is no file.";
      if (problem.fields) place.replaceChildren(problemBox(problem));
      else if (!controller.signal.aborted)
        text.textContent = "The connection broke within the export. There is no file.";
    }
    for (const each of buttons) each.ariaDisabled = "false";
    if (document.activeElement === cancel) buttons[0].focus();
    cancel.hidden = true;
    progress.textContent = "";
  }

  async function received(response) {
    let file = new Blob([], { type: response.headers.get("Content-Type") });
    let pieces = [];
    let held = 0;
    for (const reader = response.body.getReader(); ;) {
      const { done, value } = await reader.read();
      if (value) {
        pieces.push(value);
        held += value.length;
        progress.textContent = `${bytes(file.size + held)} received …`;
      }
      if (done || held > PIECE) {
        // The browser may keep a large Blob on disk, pieces never.
        file = new Blob([file, ...pieces], { type: file.type });
        [pieces, held] = [[], 0];
      }
      if (done) return file;
    }
  }

  const element = h("div#export", h("div.buttons", buttons, cancel, progress, text), place);
  return { element, stop: () => controller?.abort() };
}

function save(file, name) {
  const url = URL.createObjectURL(file);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
