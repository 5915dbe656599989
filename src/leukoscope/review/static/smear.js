// A smear as its page shows it: what the server said last, the parts of the page, and the state of each cell.
import {$} from "./dom.js";

export const smear = $("#top").dataset.smear, path = `/api/v1/smears/${smear}`;
export const MACHINE = 0, CONFIRMED = 1, REJECTED = 2;
const ABSENT = 3;
export let data, gallery, viewer, saver, filter = "all", view = "gallery", open = new Set();

/** Replace some of the variables above. */
export function replace(parts) {
  ({data, gallery, viewer, saver, filter, view} = {data, gallery, viewer, saver, filter, view, ...parts});
}

/** Read from the data which cells need an answer. Those that a person has just answered stay answered while it is saved. */
export function readOpen() {
  const {answered} = saver;
  open = new Set([...data.standing.unsure, ...data.standing.flagged].filter((cell) => !answered.has(cell)));
}

export const cells = () => data.cells;
export const isOpen = (cell) => open.has(cell);
export const isChanged = (cell) => cells().how[cell] === CONFIRMED && cells().now[cell] !== cells().machine[cell];
export const isThere = (cell) => cells().how[cell] !== ABSENT;
export const counts = (cell) => isThere(cell) && cells().how[cell] !== REJECTED && !cells().cut[cell]
  && (cells().how[cell] === CONFIRMED || !cells().damaged[cell]);
export const typeOf = (cell) => data.types[cells().now[cell]];
export const many = (number) => number.toLocaleString("en");
export const nameOf = (cell) => `${data.fields[cells().field[cell]].name}/${cells().number[cell]}`;
export const shown = {all: () => true, open: isOpen, flag: (cell) => cells().flag[cell] !== null,
  changed: (cell) => isChanged(cell) || cells().how[cell] === REJECTED};
export const when = (at) => new Date(at).toLocaleString([], {dateStyle: "medium", timeStyle: "short"});
export const chosen = () => (gallery ? gallery.chosen : new Set());
