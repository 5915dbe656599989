// What the server says of the smear, taken over and shown; also what others have done meanwhile.
import {$, $$} from "./dom.js";
import {drawCell} from "./cell.js";
import {drawCount, drawEntered} from "./count.js";
import {drawNothing} from "./groups.js";
import {saving, toast} from "./messages.js";
import {drawSelection} from "./selection.js";
import {cells, chosen, data, gallery, isThere, many, open, readOpen, replace, saver, shown, viewer} from "./smear.js";

/** Take over an answer of the server: the changed cells, and the state of the smear. */
export function news(said) {
  if (said.added) takeDrawn(said.added);
  for (const [cell, type, how] of said.changes) {
    cells().now[cell] = type;
    cells().how[cell] = how;
  }
  for (const key of ["seq", "state", "locked", "me", "undo", "redo", "types", "standing", "signed", "second", "may_countersign", "comments", "here"]) data[key] = said[key];
  readOpen();
  refresh();
}

/** Take over cells that were drawn; those that are known already stay. */
function takeDrawn({first, cells: more, paths}) {
  const known = cells().number.length;
  for (const column of Object.keys(more)) cells()[column].push(...more[column].slice(known - first));
  for (let cell = known; cell < cells().number.length; cell++) viewer?.add(cells().field[cell], cells().number[cell], paths[cell - first]);
  if (cells().number.length === known) return;
  sortCells();
  if (viewer && viewer.place !== null) viewer.show(viewer.place);
}

function sortCells() {
  const {rank} = cells();
  data.order = rank.map((_, cell) => cell).sort((a, b) => rank[a] - rank[b]);
}

export function refresh() {
  gallery?.layout();
  viewer?.refresh(chosen());
  const chip = $("#state");
  chip.textContent = data.state;
  chip.className = `chip ${data.state.replaceAll(" ", "-")}`;
  document.body.classList.toggle("locked", data.locked);
  $("#undo").disabled = !data.undo || data.locked;
  $("#redo").disabled = !data.redo || data.locked;
  $("#sign").textContent = data.locked ? "Amend" : "Sign";
  $("#sign").disabled = !data.may_sign;
  $("#countersign").hidden = !data.may_countersign;
  $("#sign").title = data.may_sign ? "" : "Haematologists sign";
  $("#sign").classList.toggle("ready", !data.locked && open.size === 0);
  $("#me").textContent = `You are ${data.me}`;
  $("#here").textContent = data.here.length ? `also open: ${data.here.join(", ")}` : "";
  const there = data.order.filter(isThere);
  const numbers = {all: there.length, open: open.size, flag: there.filter(shown.flag).length, changed: there.filter(shown.changed).length};
  for (const button of $$("[data-filter]")) {
    const word = {all: "All", open: "To answer", flag: "Flagged", changed: "Changed"}[button.dataset.filter];
    button.textContent = `${word} ${many(numbers[button.dataset.filter])}`;
  }
  drawNothing();
  drawCount();
  drawEntered();
  drawSelection();
  if (gallery?.active !== null && gallery?.active !== undefined) drawCell(gallery.active);
}

export function take(said) {
  replace({data: said});
  sortCells();
  readOpen();
  if (!viewer) return;
  viewer.cells = said.cells;
  takeOutlines();
}

/** The outlines of the cells that were drawn before the page was opened. */
export function takeOutlines() {
  data.added?.paths.forEach((path, i) => viewer.add(cells().field[data.added.first + i], cells().number[data.added.first + i], path));
}

/** After a refusal. what: was refused; an open dialog says by itself why its own form was. */
export async function reload(problem, what) {
  if (["decisions", "undo", "redo", "values"].includes(what) || !$("dialog[open] .error")) toast(problem);
  try {
    take(await saver.get());
    refresh();
  } catch (failed) {
    toast(failed.message);
  }
}

export function onChosen() {
  drawSelection();
  viewer?.refresh(chosen());
  if (gallery.active !== null) drawCell(gallery.active);
}

/** What others have done meanwhile. */
export async function look() {
  if (saver.busy || document.hidden) return;
  try {
    const said = await saver.get(`/news?since=${data.seq}`);
    if (saver.busy) return;
    if ($("#saving").dataset.kind === "away") saving("saved", "Saved");
    if (said.seq !== data.seq || said.state !== data.state || said.here.join() !== data.here.join()) news(said);
  } catch (problem) {
    saving("away", `No connection: ${problem.message === "Failed to fetch" ? "the server does not answer" : problem.message}`);
  }
}
