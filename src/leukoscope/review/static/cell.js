// The panel of one cell: the cell in its field, what the machine says of it, its sizes, history and reference cells.
import {$, make, svg} from "./dom.js";
import {decide} from "./decisions.js";
import {comment} from "./dialogs.js";
import {titleOf} from "./groups.js";
import {toast} from "./messages.js";
import {cells, data, isOpen, isThere, path, saver, typeOf, viewer, when} from "./smear.js";

let detail = 0, compare = false;

export async function drawCell(cell) {
  const mine = ++detail;
  let one;
  try {
    one = await saver.get(`/cells/${cell}`);
  } catch (problem) {
    return toast(problem.message);
  }
  if (mine !== detail) return;
  const {left, top, side} = one.around;
  const picture = svg("svg", {viewBox: `${left} ${top} ${side} ${side}`, preserveAspectRatio: "xMidYMid slice", role: "img", "aria-label": titleOf(cell)},
    svg("image", {href: `${path}/cells/${cell}/around.jpg?v=${data.version}`, x: left, y: top, width: side, height: side}),
    outside(data.fields[cells().field[cell]], left, top, side));
  const type = typeOf(cell), title = one.how === "rejected" ? "Rejected" : type ? type.label : "No type";
  const dot = make("span", {className: "dot"});
  dot.style.background = type ? type.colour : "var(--soft)";
  const bars = one.probabilities.map(([name, value]) => {
    const known = data.types.find((kind) => kind.name === name), bar = make("i");
    bar.style.width = `${Math.max(100 * value, 0.5)}%`;
    bar.style.background = known?.colour ?? "var(--soft)";
    return make("tr", {}, make("th", {scope: "row", textContent: known?.label ?? name}), make("td", {}, make("span", {className: "track"}, bar)),
      make("td", {className: "number", textContent: value > 0.9995 ? ">99.9" : (100 * value).toFixed(1)}));
  });
  const notes = [one.drawn, one.flag && `${one.flag}: ${one.reason}`, ...one.doubts].filter(Boolean);
  $("#cell").replaceChildren(
    make("div", {className: "row"}, make("h2", {id: "cell-title"}, dot, ` ${title}`), make("span", {className: "soft", textContent: one.name})),
    make("div", {className: "around"}, picture),
    notes.length ? make("ul", {className: "notes"}, ...notes.map((text) => make("li", {textContent: text}))) : "",
    referencesOf(cell),
    one.set.length > 1 ? make("p", {className: "soft small", textContent: `The type is, as far as the model knows, one of: ${one.set.map((name) => data.types.find((kind) => kind.name === name)?.label ?? name).join(", ")}.`}) : "",
    bars.length ? make("table", {className: "chances"}, make("caption", {textContent: "Machine, %"}), make("tbody", {}, ...bars)) : "",
    one.explained ? explanationOf(cell, one.machine) : "",
    make("dl", {className: "sizes"}, ...one.measures.map(([name, value]) => make("div", {}, make("dt", {textContent: name}), make("dd", {textContent: value})))),
    ...data.comments.filter((said) => said.cell === cell).map((said) => make("p", {className: "said"}, make("span", {textContent: said.text}), make("span", {className: "soft", textContent: ` ${said.who}, ${when(said.at)}`}))),
    one.history.length ? make("ul", {className: "past"}, ...one.history.map((past) => make("li", {}, make("span", {textContent: past.what}), make("span", {className: "soft", textContent: ` ${past.who}, ${when(past.at)}`})))) : "",
    make("button", {type: "button", className: "quiet", textContent: "Comment on this cell", disabled: data.locked, onclick: () => comment(cell)}));
  try {
    const outlines = await viewer.outlines(cells().field[cell]);
    for (let other = 0; other < cells().number.length; other++) {
      if (!isThere(other) || cells().field[other] !== cells().field[cell] || !outlines[cells().number[other]]) continue;
      const line = svg("path", {d: outlines[cells().number[other]], class: other === cell ? "mine" : "other", stroke: typeOf(other)?.colour ?? "#777"});
      picture.append(line);
    }
    picture.style.setProperty("--px", side / 340);
  } catch { /* the viewer says what is wrong */ }
}

/** What lies outside the field, in the colour of the page. */
function outside({width, height}, left, top, side) {
  return svg("path", {class: "outside", "fill-rule": "evenodd", d: `M${left} ${top}h${side}v${side}h${-side}zM0 0h${width}v${height}h${-width}z`});
}

/** Cells of known type beside the cell: open where it is doubtful, else on demand. */
function referencesOf(cell) {
  const box = make("details", {className: "references"}, make("summary", {textContent: "Reference cells"}));
  const load = async () => {
    if (box.dataset.loaded) return;
    box.dataset.loaded = "yes";
    try {
      const rows = await saver.get(`/cells/${cell}/references`);
      box.append(...rows.map(referenceRow));
    } catch (problem) { toast(problem.message); }
  };
  box.addEventListener("toggle", () => { compare = box.open || (compare && isOpen(cell)); if (box.open) load(); });
  if (isOpen(cell) || compare) { box.open = true; load(); }
  return box;
}

/** Where the model looks, on demand: it takes a second. */
function explanationOf(cell, machine) {
  const label = data.types.find((kind) => kind.name === machine)?.label ?? machine;
  const box = make("details", {className: "references"}, make("summary", {textContent: "Where the model looks"}));
  box.addEventListener("toggle", () => {
    if (!box.open || box.dataset.loaded) return;
    box.dataset.loaded = "yes";
    const words = make("p", {className: "soft small", textContent: "Computing …"});
    const picture = make("img", {src: `${path}/cells/${cell}/explanation.jpg?v=${data.version}`, alt: `Parts of the cell that decide for ${label}`, className: "explanation"});
    picture.onload = () => { words.textContent = `Red: covering this part lowers the probability of ${label} most. It shows where the model looks, not why.`; };
    picture.onerror = () => { picture.remove(); words.textContent = "Not possible: the bundle that typed this smear, or the photograph, is not there."; };
    box.append(picture, words);
  });
  return box;
}

function referenceRow({type, own, cells: sources}) {
  const place = data.types.findIndex((kind) => kind.name === type), kind = data.types[place];
  const dot = make("span", {className: "dot"});
  dot.style.background = kind.colour;
  const give = make("button", {type: "button", className: "quiet", title: `Give this type; key ${kind.key.toUpperCase()}`, onclick: () => decide("type", place)}, make("kbd", {textContent: kind.key.toUpperCase()}), dot, kind.label);
  const pictures = sources.map((src) => make("img", {src, alt: `${kind.label}, ${own ? "confirmed by you" : "drawn by the phantom"}`, width: 66, height: 66, loading: "lazy"}));
  return make("div", {className: "reference"}, make("div", {className: "row"}, give, make("span", {className: "soft small", textContent: sources.length ? own ? "your confirmed cells" : "phantom, not blood" : "no reference"})),
    make("div", {className: "pictures"}, ...pictures));
}
