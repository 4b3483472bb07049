// Asks the visitor for another name, which takes another seat: names are said when one joins.

import { element } from "./dom.js";
import { clip, rememberName, visitorName } from "./place.js";

/** Opens a dialog; a new name is kept, and `onRenamed` is told. */
export function askForName(onRenamed: () => void): void {
  const input = element("input", {
    id: "new-name",
    value: visitorName(),
    maxlength: 40,
    autocomplete: "nickname",
    required: true,
  });
  const cancel = element("button", { type: "button" }, "Keep the old one");
  const form = element(
    "form",
    { method: "dialog", class: "rename" },
    element("h2", {}, "Change your name"),
    element("div", { class: "field" }, element("label", { for: "new-name" }, "Your name"), input),
    element(
      "div",
      { class: "row" },
      element("button", { type: "submit", class: "primary" }, "Use this name"),
      cancel,
    ),
  );
  const dialog = element("dialog", { "aria-label": "Change your name" }, form);
  cancel.onclick = () => dialog.close();
  form.onsubmit = () => {
    const name = clip(input.value);
    if (name && name !== visitorName()) {
      rememberName(name);
      onRenamed();
    }
  };
  dialog.onclose = () => dialog.remove();
  document.body.append(dialog);
  dialog.showModal();
  input.select();
}
