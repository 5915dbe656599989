// What the gallery shows: the groups of cells, and the picture and caption of each.
import {$, make} from "./dom.js";
import {CONFIRMED, MACHINE, REJECTED, cells, counts, data, filter, isChanged, isOpen, isThere, many, nameOf, path, shown, typeOf} from "./smear.js";

export function groups() {
  const byType = data.types.map(() => []), untyped = [], aside = [], rejected = [];
  for (const cell of data.order) {
    if (!isThere(cell) || !shown[filter](cell)) continue;
    if (cells().how[cell] === REJECTED) rejected.push(cell);
    else if (!counts(cell)) aside.push(cell);
    else (byType[cells().now[cell]] ?? untyped).push(cell);
  }
  const group = (id, title, colour, list) => ({id, title, colour, cells: list, note: noteOf(list)});
  return [group("none", "Without a type", "var(--soft)", untyped),
    ...data.types.map((type, i) => group(String(i), type.label, type.colour, byType[i])),
    group("aside", "Not counted: cut or damaged", "var(--line)", aside),
    group("rejected", "Rejected", "var(--line)", rejected)].filter((one) => one.cells.length);
}

/** Say so where the gallery has nothing to show. */
export function drawNothing() {
  $("#nothing").hidden = data.order.some((cell) => isThere(cell) && shown[filter](cell));
  $("#nothing").textContent = {all: "No cell was found. Look at the fields, and add there what was missed.", open: "No cell needs an answer.", flag: "No cell is flagged.", changed: "No cell was changed or rejected."}[filter];
}

function noteOf(list) {
  const waiting = list.filter(isOpen).length;
  return `${many(list.length)}${waiting ? `, ${many(waiting)} to answer` : ""}`;
}

export function titleOf(cell) {
  const type = typeOf(cell), how = cells().how[cell];
  return [`cell ${nameOf(cell)}`, how === REJECTED ? "rejected" : type ? type.label : "no type",
    cells().p[cell] !== null && how === MACHINE ? `${Math.round(cells().p[cell])} %` : null, cells().flag[cell] && `flagged ${cells().flag[cell]}`,
    isOpen(cell) ? "to answer" : null, how === CONFIRMED ? "confirmed" : null, cells().cut[cell] ? "cut by the border" : null,
    cells().damaged[cell] ? "damaged" : null].filter(Boolean).join(", ");
}

export function drawTile(cell, tile, size) {
  if (!tile.firstChild) {
    const picture = make("img", {alt: "", draggable: false, decoding: "async", src: `${path}/cells/${cell}.jpg?v=${data.version}`});
    picture.onerror = () => tile.classList.add("unseen");
    tile.append(make("div", {className: "picture"}, picture, make("span", {className: "mark"})), make("div", {className: "caption"}, make("span"), make("b")));
  }
  const [sure, state] = $(".caption", tile).children, how = cells().how[cell];
  $(".picture", tile).style.height = `${size}px`;
  sure.textContent = how === MACHINE && cells().p[cell] !== null ? `${Math.round(cells().p[cell])} %` : how === CONFIRMED ? "✓" : how === REJECTED ? "rejected" : "";
  state.textContent = isChanged(cell) && cells().machine[cell] !== null ? `was ${short(data.types[cells().machine[cell]].name)}`
    : isOpen(cell) ? (cells().flag[cell] ? short(cells().flag[cell]) : "unsure") : cells().cut[cell] ? "cut" : cells().damaged[cell] && how === MACHINE ? "damaged" : "";
  $(".mark", tile).textContent = isOpen(cell) ? (cells().flag[cell] ? "!" : "?") : "";
  tile.className = ["tile", how === REJECTED && "rejected", how === CONFIRMED && "confirmed", isOpen(cell) && (cells().flag[cell] ? "flagged" : "doubtful"), tile.classList.contains("unseen") && "unseen"].filter(Boolean).join(" ");
}

const short = (text) => ({"nucleated red cell": "NRBC", "erythroblast": "erythro.", "immature": "immat.", "immature granulocyte": "IG"}[text] ?? (text.length > 11 ? `${text.slice(0, 9)}.` : text));
