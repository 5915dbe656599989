// The menu of the selected cells.
import {$, $$, make} from "./dom.js";
import {cannot, decide, rejectOrRestore} from "./decisions.js";
import {addType} from "./dialogs.js";
import {join, split} from "./drawing.js";
import {chosen, data, gallery, view} from "./smear.js";
import {focus} from "./views.js";

export function menu(x, y) {
  const popup = $("#menu");
  if (cannot([...chosen()])) return;
  const item = (key, label, colour, act) => {
    const dot = make("span", {className: "dot"});
    if (colour) dot.style.background = colour; else dot.style.visibility = "hidden";
    return make("button", {type: "button", role: "menuitem", onclick: () => { close(); act(); }}, dot, make("span", {textContent: label}), make("kbd", {textContent: key}));
  };
  const close = () => { popup.hidden = true; focus(); };
  popup.replaceChildren(...data.types.map((type, i) => item(type.key.toUpperCase(), type.label, type.colour, () => decide("type", i))), make("hr"),
    item("", "Add a type …", "", addType), item("V", "Split in two", "", split), ...(chosen().size > 1 ? [item("G", "Join to one", "", join)] : []), item("Enter", "Confirm", "", () => decide("confirm")), item("X", "Reject or restore", "", rejectOrRestore));
  popup.hidden = false;
  popup.style.left = `${Math.max(8, Math.min(x, innerWidth - popup.offsetWidth - 8))}px`;
  popup.style.top = `${Math.max(8, Math.min(y, innerHeight - popup.offsetHeight - 8))}px`;
  popup.firstChild.focus();
}

export function openMenu() {
  const tile = $(`#cell-${gallery.active}`), edge = (view === "gallery" && tile ? tile : $("#selection")).getBoundingClientRect();
  menu(edge.left + 20, view === "gallery" && tile ? edge.bottom : edge.top);
}

export function menuKey(event, popup) {
  const items = $$("button", popup), at = items.indexOf(document.activeElement), key = event.key;
  if (key === "Escape" || key === "Tab") { popup.hidden = true; focus(); return true; }
  if (key === "ArrowDown" || key === "ArrowUp") { items[(at + (key === "ArrowDown" ? 1 : -1) + items.length) % items.length].focus(); return true; }
  if (key.length === 1 && data.types.some((one) => one.key === key.toLowerCase())) { popup.hidden = true; return false; }
  return false;
}
