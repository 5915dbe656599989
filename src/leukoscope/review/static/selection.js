// The line of the selected cells: how many there are, and what can be done with them.
import {$, $$} from "./dom.js";
import {REJECTED, cells, chosen, data, many, open, view} from "./smear.js";

export function drawSelection() {
  const list = [...chosen()], bar = $("#selection");
  $("#selected").textContent = data.locked ? "Signed and locked" : list.length ? `${many(list.length)} selected` : "No cell selected";
  for (const button of $$("[data-do]", bar)) {
    const one = button.dataset.do;
    button.disabled = one === "next" ? open.size === 0 : !list.length || (data.locked && one !== "field");
  }
  const back = list.length > 0 && list.every((cell) => cells().how[cell] === REJECTED);
  $('[data-do="reject"] span').textContent = back ? "Restore" : "Reject";
  $('[data-do="field"] span').textContent = view === "field" ? "In the gallery" : "In its field";
  bar.classList.toggle("empty", !list.length);
}
