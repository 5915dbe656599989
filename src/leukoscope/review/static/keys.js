// The keyboard: every command has a key.
import {$, make} from "./dom.js";
import {decide, rejectOrRestore, turn} from "./decisions.js";
import {comment} from "./dialogs.js";
import {addMissed, join, split} from "./drawing.js";
import {menuKey, openMenu} from "./menu.js";
import {cells, data, gallery, isThere, view, viewer} from "./smear.js";
import {aim, inField, next, showField} from "./views.js";

const COMMANDS = [["Arrow keys", "go from cell to cell; with Shift, select"], ["Space", "select one more, or one less"],
  ["Enter", "confirm the selected cells"], ["M", "change their type by the menu"], ["X", "reject them, or restore them"],
  ["N", "the next cell that needs an answer"], ["F", "show the cell in its field, and back"], ["C", "comment on the cell"],
  ["B", "in a field: add a cell that was missed; then click it"], ["V", "split the cell in two; in a field, click the middle of each, or V again"], ["G", "join the selected cells to one"],
  ["Ctrl+A", "select all cells of the group"], ["Esc", "select none"], ["Ctrl+Z, Ctrl+Y", "undo, redo"],
  ["Page Up, Page Down", "in a field: the field before, after"], ["+, -, 0", "in a field: larger, smaller, whole"],
  ["?", "this list"], ["Mouse", "click; Ctrl+click and Shift+click for several; drag from an empty place, or with Shift, for a box; drag cells to a group or to a type of the differential; right click for the menu"],
  ["Touch", "tap; hold to select several"]];

export function keyed(event) {
  if ($("dialog[open]") || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
  const popup = $("#menu"), key = event.key, control = event.ctrlKey || event.metaKey;
  if (!popup.hidden && menuKey(event, popup)) return event.preventDefault();
  if (control && !event.altKey) return controlKey(event);
  if (event.altKey) return undefined;
  const onButton = /^(BUTTON|SUMMARY|A)$/.test(event.target.tagName);
  if ((key === "Enter" || key === " ") && onButton) return undefined;
  const type = key.length === 1 ? data.types.findIndex((one) => one.key === key.toLowerCase()) : -1;
  const acts = {Enter: () => decide("confirm"), x: rejectOrRestore, n: next, f: inField, "?": help, b: addMissed, v: split, g: join, Escape: () => (viewer.aiming ? aim(null) : gallery.choose([], gallery.active)),
    c: () => gallery.active !== null && !data.locked && comment(gallery.active), m: () => openMenu(),
    " ": () => gallery.active !== null && gallery.toggle(gallery.active)};
  const act = acts[key.length === 1 ? key.toLowerCase() : key];
  if (view === "field" && fieldKey(key)) return event.preventDefault();
  if (view === "gallery" && !onButton && /^(Arrow|Home|End|Page)/.test(key)) {
    const cell = gallery.beside(key);
    if (cell !== null) { if (event.shiftKey) gallery.extend(cell); else { gallery.choose([cell], cell); gallery.reveal(cell); } }
    return event.preventDefault();
  }
  if (act) { event.preventDefault(); return act(); }
  if (type >= 0) { event.preventDefault(); return decide("type", type); }
  return undefined;
}

function controlKey(event) {
  const key = event.key.toLowerCase();
  if (key === "z" || key === "y") { event.preventDefault(); return turn(key === "y" || event.shiftKey ? "redo" : "undo"); }
  if (key !== "a" || view !== "gallery") return undefined;
  event.preventDefault();
  const block = gallery.blocks.find((one) => one.cells.includes(gallery.active)) ?? gallery.blocks[0];
  return block && gallery.choose(block.cells, gallery.active ?? block.cells[0]);
}

function fieldKey(key) {
  if (key === "PageDown" || key === "PageUp") {
    const place = viewer.place + (key === "PageDown" ? 1 : -1);
    if (data.fields[place]) showField(place);
  } else if (/^Arrow/.test(key)) {
    const inside = data.order.filter((cell) => isThere(cell) && cells().field[cell] === viewer.place).sort((a, b) => cells().number[a] - cells().number[b]);
    const at = inside.indexOf(gallery.active), by = key === "ArrowRight" || key === "ArrowDown" ? 1 : -1;
    const cell = inside[at < 0 ? 0 : (at + by + inside.length) % inside.length];
    if (cell !== undefined) gallery.choose([cell], cell);
  } else if (key === "+" || key === "=") viewer.zoom(1.4);
  else if (key === "-") viewer.zoom(1 / 1.4);
  else if (key === "0") viewer.whole();
  else return false;
  return true;
}

export function help() {
  const row = ([key, what]) => make("div", {}, make("dt", {}, make("kbd", {textContent: key})), make("dd", {textContent: what}));
  $("#keys").replaceChildren(make("dl", {}, ...data.types.filter((type) => type.key).map((type) => row([type.key.toUpperCase(), type.label]))), make("dl", {}, ...COMMANDS.map(row)));
  $("#help-dialog").showModal();
}
