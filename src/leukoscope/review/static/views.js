// Gallery or field, and which cells: what the page shows, and where the keys act.
import {$, $$} from "./dom.js";
import {drawNothing} from "./groups.js";
import {heard, toast} from "./messages.js";
import {drawSelection} from "./selection.js";
import {cells, data, filter, gallery, isOpen, replace, view, viewer} from "./smear.js";

const HINTS = {add: "Click the middle of the cell that was missed. Esc ends.", split: "Click the middle of each of the two cells; V again splits by the shape of the nucleus. Esc ends."};

/** Begin or end to point at places of the field: "add", "split" or null. */
export function aim(what) {
  viewer.aim(what);
  for (const button of $$("[data-aim]")) button.setAttribute("aria-pressed", button.dataset.aim === what);
  $("#hint").textContent = what ? HINTS[what] : "";
  $("#hint").hidden = !what;
}

export function setView(wanted) {
  if (wanted !== "field") aim(null);
  replace({view: wanted});
  document.body.dataset.view = view;
  for (const button of $$("[data-view]", $(".tools"))) button.setAttribute("aria-pressed", button.dataset.view === view);
  $("#gallery").hidden = view !== "gallery";
  $("#viewer").hidden = view !== "field";
  if (view === "field") showField(gallery.active === null ? viewer.place ?? 0 : cells().field[gallery.active]);
  else gallery.layout();
  drawSelection();
}

export function showField(place) {
  $("#field-list").value = place;
  $("#field-before").disabled = place === 0;
  $("#field-next").disabled = place === data.fields.length - 1;
  const {remarks} = data.fields[place];
  $("#field-remarks").textContent = remarks.join("; ");
  $("#field-remarks").hidden = !remarks.length;
  return viewer.show(place);
}

export async function inField() {
  const cell = gallery.active;
  if (view === "field") {
    setView("gallery");
    if (cell !== null && !gallery.placed.has(cell)) setFilter("all");
    if (cell !== null) { gallery.choose([cell], cell); gallery.reveal(cell); }
    return focus();
  }
  if (cell === null) return toast("Select a cell first.");
  setView("field");
  viewer.centre(cell);
  focus();
}

export function setFilter(wanted) {
  replace({filter: wanted});
  for (const button of $$("[data-filter]")) button.setAttribute("aria-pressed", button.dataset.filter === filter);
  gallery.box.scrollTop = 0;
  gallery.layout();
  drawNothing();
  if (filter === "open" && gallery.flow.length && !gallery.placed.has(gallery.active)) gallery.choose([gallery.flow[0]], gallery.flow[0]);
}

export function next() {
  const order = view === "field" ? data.order : gallery.flow, at = order.indexOf(gallery.active);
  const found = [...order.slice(at + 1), ...order.slice(0, at + 1)].find(isOpen) ?? data.order.find(isOpen);
  if (found === undefined) return heard("All flagged and unsure cells are answered.");
  if (view === "gallery" && !gallery.placed.has(found)) setFilter("all");
  gallery.choose([found], found);
  focus();
  if (view === "gallery") gallery.reveal(found);
  else showField(cells().field[found]).then(() => viewer.centre(found));
}

/** Keys act on the cells again. */
export function focus() { $(view === "field" ? "#viewer" : "#gallery").focus({preventScroll: true}); }
