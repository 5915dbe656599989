// Cells that a person draws in a field: a missed one added, one split in two, several joined.
import {cannot} from "./decisions.js";
import {heard, toast} from "./messages.js";
import {cells, chosen, data, gallery, saver, view, viewer} from "./smear.js";
import {aim, focus, setFilter, setView} from "./views.js";

export function addMissed() {
  if (data.locked) return cannot([]);
  if (view !== "field") setView("field");
  aim(viewer.aiming === "add" ? null : "add");
  focus();
}

export function split() {
  if (cannot([...chosen()])) return;
  if (chosen().size !== 1) return toast("Select one cell to split it.");
  if (view === "field" && viewer.aiming !== "split") return aim("split");
  aim(null);
  draw("split", {cell: gallery.active}, "Split in two");
}

export function join() {
  const list = [...chosen()];
  if (cannot(list)) return;
  if (list.length < 2 || list.length > 4 || new Set(list.map((cell) => cells().field[cell])).size > 1) return toast("Select two to four cells of one field that touch.");
  draw("join", {cells: list}, "Joined");
}

export function pointed(field, x, y) {
  const point = [Math.max(x - 0.5, 0), Math.max(y - 0.5, 0)];
  if (viewer.aiming === "add") return draw("cells", {field, point}, "Added");
  viewer.mark(x, y);
  const both = [...viewer.middles, point];
  viewer.middles = both;
  if (both.length < 2) return;
  aim(null);
  draw("split", {cell: gallery.active, middles: both}, "Split in two");
}

/** Have the server draw cells, and choose them. */
async function draw(what, body, word) {
  heard("Outlining …");
  let said;
  try {
    said = await saver.send(what, body);
  } catch {
    return; // the refusal is shown
  }
  heard(`${word}: ${said.drawn_how.join("; ")}`);
  if (said.drawn_how.some((how) => how.includes("circle") || how.includes("bundle"))) toast(said.drawn_how.join("; "));
  gallery.choose(said.drawn, said.drawn[0]);
  if (view === "gallery") { if (!gallery.placed.has(said.drawn[0])) setFilter("all"); gallery.reveal(said.drawn[0]); }
}
