// Decisions on the selected cells: type, confirm, reject, restore; undo and redo.
import {heard, toast} from "./messages.js";
import {CONFIRMED, MACHINE, REJECTED, cells, chosen, data, filter, gallery, open, saver, view, viewer} from "./smear.js";

/** Say why nothing can be decided now; false where it can. */
export function cannot(list) {
  if (data.locked) toast(`Signed by ${data.signed.who} and locked. Amend it to change anything.`);
  else if (!list.length) toast("Select a cell first.");
  return data.locked || !list.length;
}

/** Decide on the chosen cells: shown at once, and sent. */
export function decide(did, type = null, list = [...chosen()]) {
  if (cannot(list)) return undefined;
  const fresh = list.filter((cell) => did === "type" ? cells().now[cell] !== type || cells().how[cell] !== CONFIRMED
    : did === "confirm" ? cells().how[cell] !== CONFIRMED : (cells().how[cell] === REJECTED) === (did === "restore"));
  if (!fresh.length) return heard("These cells already have this state.");
  if (did === "confirm" && fresh.some((cell) => cells().now[cell] === null)) return toast("A cell without a type cannot be confirmed: choose a type.");
  const after = following(list);
  for (const cell of fresh) {
    if (did === "type") cells().now[cell] = type;
    cells().how[cell] = did === "reject" ? REJECTED : did === "restore" && cells().now[cell] === null ? MACHINE : CONFIRMED;
    open.delete(cell);
  }
  heard(`${fresh.length} cell${fresh.length > 1 ? "s" : ""}: ${did === "type" ? data.types[type].label : {confirm: "confirmed", reject: "rejected", restore: "restored"}[did]}`);
  saver.send("decisions", {cells: fresh, did, ...(type === null ? {} : {type: data.types[type].name})}).catch(() => {});
  gallery.layout();
  if (after !== null) gallery.choose([after], after);
  else gallery.on.chosen();
  if (after !== null) gallery.reveal(after);
  viewer.refresh(chosen());
}

/** Where the eye goes next when the chosen cells leave the list that is shown: the cell behind them. */
function following(list) {
  if (view === "field" || filter !== "open") return null;
  const last = Math.max(...list.map((cell) => gallery.placed.get(cell)?.order ?? -1)), gone = new Set(list);
  return gallery.flow.slice(last + 1).find((cell) => !gone.has(cell)) ?? gallery.flow.find((cell) => !gone.has(cell)) ?? null;
}

export function rejectOrRestore() {
  const list = [...chosen()];
  decide(list.length && list.every((cell) => cells().how[cell] === REJECTED) ? "restore" : "reject");
}

export function turn(what) {
  if (data[what] && !data.locked) saver.send(what).then(() => heard(what === "undo" ? "Undone" : "Done again"), () => {});
}
