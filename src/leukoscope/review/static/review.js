// The page of a smear: joins gallery, field, count, cell and the saving of every decision.
import {$, $$, ask, closers, make, naming, svg} from "./dom.js";
import {Gallery} from "./gallery.js";
import {Saver} from "./saver.js";
import {Viewer} from "./viewer.js";

const smear = $("#top").dataset.smear, path = `/api/v1/smears/${smear}`;
const MACHINE = 0, CONFIRMED = 1, REJECTED = 2, ABSENT = 3;
const COMMANDS = [["Arrow keys", "go from cell to cell; with Shift, select"], ["Space", "select one more, or one less"],
  ["Enter", "confirm the selected cells"], ["M", "change their type by the menu"], ["X", "reject them, or restore them"],
  ["N", "the next cell that needs an answer"], ["F", "show the cell in its field, and back"], ["C", "comment on the cell"],
  ["B", "in a field: add a cell that was missed; then click it"], ["V", "split the cell in two; in a field, click the middle of each, or V again"], ["G", "join the selected cells to one"],
  ["Ctrl+A", "select all cells of the group"], ["Esc", "select none"], ["Ctrl+Z, Ctrl+Y", "undo, redo"],
  ["Page Up, Page Down", "in a field: the field before, after"], ["+, -, 0", "in a field: larger, smaller, whole"],
  ["?", "this list"], ["Mouse", "click; Ctrl+click and Shift+click for several; drag from an empty place, or with Shift, for a box; drag cells to a group or to a type of the differential; right click for the menu"],
  ["Touch", "tap; hold to select several"]];
let data, gallery, viewer, saver, filter = "all", view = "gallery", open = new Set(), detail = 0, compare = false;

// ---------------------------------------------------------------------------------------------- how a cell stands

const cells = () => data.cells;
const isOpen = (cell) => open.has(cell);
const isChanged = (cell) => cells().how[cell] === CONFIRMED && cells().now[cell] !== cells().machine[cell];
const isThere = (cell) => cells().how[cell] !== ABSENT;
const counts = (cell) => isThere(cell) && cells().how[cell] !== REJECTED && !cells().cut[cell]
  && (cells().how[cell] === CONFIRMED || !cells().damaged[cell]);
const typeOf = (cell) => data.types[cells().now[cell]];
const many = (number) => number.toLocaleString("en");
const nameOf = (cell) => `${data.fields[cells().field[cell]].name}/${cells().number[cell]}`;
const shown = {all: () => true, open: isOpen, flag: (cell) => cells().flag[cell] !== null,
  changed: (cell) => isChanged(cell) || cells().how[cell] === REJECTED};

function groups() {
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
    group("aside", "Not counted: cut by the border, or damaged", "var(--line)", aside),
    group("rejected", "Rejected", "var(--line)", rejected)].filter((one) => one.cells.length);
}

function noteOf(list) {
  const waiting = list.filter(isOpen).length;
  return `${many(list.length)}${waiting ? `, ${many(waiting)} to answer` : ""}`;
}

function titleOf(cell) {
  const type = typeOf(cell), how = cells().how[cell];
  return [`cell ${nameOf(cell)}`, how === REJECTED ? "rejected" : type ? type.label : "no type",
    cells().p[cell] !== null && how === MACHINE ? `${Math.round(cells().p[cell])} %` : null, cells().flag[cell] && `flagged ${cells().flag[cell]}`,
    isOpen(cell) ? "to answer" : null, how === CONFIRMED ? "confirmed" : null, cells().cut[cell] ? "cut by the border" : null,
    cells().damaged[cell] ? "damaged" : null].filter(Boolean).join(", ");
}

function drawTile(cell, tile, size) {
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

// ---------------------------------------------------------------------------------------------- what the server says

/** Take over an answer of the server: the changed cells and how all stands now. */
function news(said) {
  if (said.added) takeDrawn(said.added);
  for (const [cell, type, how] of said.changes) {
    cells().now[cell] = type;
    cells().how[cell] = how;
  }
  for (const key of ["seq", "state", "locked", "me", "undo", "redo", "types", "standing", "signed", "second", "may_countersign", "comments", "here"]) data[key] = said[key];
  open = new Set([...data.standing.unsure, ...data.standing.flagged]);
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

function refresh() {
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
  drawCount();
  drawEntered();
  drawSelection();
  if (gallery?.active !== null && gallery?.active !== undefined) drawCell(gallery.active);
}

function drawCount() {
  const {standing} = data, percent = (value) => (100 * value).toFixed(1);
  $("#total").textContent = `${many(standing.total)} leukocytes`;
  $("#target").value = standing.target;
  $("#target").disabled = data.locked;
  const shownBeside = $("#column").value, litre = (value) => value.toFixed(value < 1 ? 2 : 1), arrow = {L: "↓", H: "↑", "": ""};
  const beside = (kind) => {
    const range = kind.percent_range ?? kind.litre_range;
    if (shownBeside === "rumke") return kind.rumke ? `${percent(kind.rumke[0])}–${percent(kind.rumke[1])}` : "";
    if (shownBeside === "range") return range ? `${range[0]}–${range[1]}${kind.percent_range ? "" : " ×10⁹"}` : "";
    if (shownBeside === "litre") return kind.per_litre ? `${litre(kind.per_litre.value)}${arrow[kind.litre_flag]}` : "";
    return null;
  };
  const rows = standing.types.map((kind) => {
    const place = data.types.findIndex((type) => type.name === kind.name), type = data.types[place];
    const by = kind.cells - kind.machine, share = kind.share, ratio = kind.per_hundred;
    const value = share ? (share.value === null ? "—" : percent(share.value)) : ratio && ratio.value !== null ? `${ratio.value.toFixed(1)}*` : "—";
    const ends = share && share.low !== null ? `${percent(share.low)}–${percent(share.high)}` : ratio && ratio.value !== null ? `${ratio.low.toFixed(1)}–${ratio.high.toFixed(1)}` : "";
    const dot = make("span", {className: "dot"}), flag = kind.flag || kind.litre_flag;
    const why = flag ? `${flag === "H" ? "above" : "below"} the reference range ${kind.flag ? `${kind.percent_range.join("–")} %` : `${kind.litre_range.join("–")} × 10⁹/l`}` : "";
    dot.style.background = type.colour;
    return make("tr", {"data-group": String(place), className: kind.cells ? "" : "empty"},
      make("th", {scope: "row"}, make("button", {type: "button", className: "type", title: `Go to the group; key ${type.key.toUpperCase()} gives this type`,
        onclick: () => { setView("gallery"); gallery.jump(String(place)); }}, make("kbd", {textContent: type.key.toUpperCase()}), dot, make("span", {textContent: type.label}))),
      make("td", {textContent: many(kind.cells)}), make("td", {className: flag ? "flag" : "", title: why}, value, flag ? make("span", {className: "arrow", role: "img", "aria-label": why, textContent: arrow[flag]}) : ""),
      make("td", {className: "soft", textContent: beside(kind) ?? ends}),
      make("td", {className: by ? "by" : "soft", textContent: by ? `${by > 0 ? "+" : "−"}${many(Math.abs(by))}` : "·"}));
  });
  $("#differential tbody").replaceChildren(...rows);
  const aside = [[standing.cut, "cut"], [standing.damaged, "damaged"], [standing.rejected, "rejected"]].filter(([n]) => n).map(([n, word]) => `${many(n)} ${word}`);
  $("#apart").textContent = [aside.length ? `Not counted: ${aside.join(", ")}.` : "", standing.types.some((one) => one.per_hundred) ? "* per 100 leukocytes." : ""].filter(Boolean).join(" ");
  const {flagged, unsure} = standing, words = [flagged.length && `${many(flagged.length)} flagged`, unsure.length && `${many(unsure.length)} unsure`].filter(Boolean);
  $("#progress").textContent = data.locked ? `Signed by ${data.signed.who}, ${when(data.signed.at)}${data.second ? `; second signature by ${data.second.who}, ${when(data.second.at)}` : ""}` : words.length ? `To answer: ${words.join(", ")}` : "All flagged and unsure cells are answered.";
  $("#progress").classList.toggle("done", !words.length);
}

/** What was entered beside the cells, in a line. */
function drawEntered() {
  const {standing} = data, arrow = {L: " ↓", H: " ↑", "": ""};
  const {white_cells: white, platelets} = standing, estimate = platelets?.per_litre.value;
  const words = [white !== null && `leukocytes ${white} × 10⁹/l${arrow[standing.white_flag]}`,
    platelets && (estimate !== null ? `platelets about ${Math.round(estimate)} × 10⁹/l${arrow[standing.platelet_flag]} (${Math.round(platelets.per_litre.low)}–${Math.round(platelets.per_litre.high)})` : `${platelets.cells} platelets; no estimate without a scale`),
    ...standing.findings.map(([name, grade]) => `${name} ${grade}`)].filter(Boolean);
  $("#entered").textContent = words.join(" · ");
}

function openFindings() {
  const {values} = data.standing, enter = (name, value) => saver.send("values", {name, value}).catch(() => {});
  const number = (name, label, unit, whole) => {
    const input = make("input", {type: "number", min: 0, max: whole ? 100000 : 1000, step: whole ? 1 : "any", value: values[name] ?? "", disabled: data.locked});
    input.addEventListener("change", () => { if (input.validity.valid) enter(name, input.value === "" ? null : Number(input.value)); else input.reportValidity(); });
    return make("label", {className: "entry"}, make("span", {textContent: label}), input, make("span", {className: "soft", textContent: unit}));
  };
  const grade = (name) => {
    const list = make("select", {disabled: data.locked}, make("option", {value: "", textContent: "—"}), ...data.grades.map((word, i) => make("option", {value: i, textContent: `${i} ${word}`})));
    list.value = values[`finding:${name}`] ?? "";
    list.addEventListener("change", () => enter(`finding:${name}`, list.value === "" ? null : Number(list.value)));
    return make("label", {className: "entry"}, make("span", {textContent: name}), list);
  };
  const place = viewer.place ?? 0;
  $("#entries").replaceChildren(make("h3", {textContent: "Counts"}), number("white_cells", "Leukocytes, of the analyser", "× 10⁹/l", false),
    ...data.fields.map((field, i) => [field, i]).filter(([field, i]) => i === place || values[`platelets:${field.name}`] !== undefined).map(([field]) => number(`platelets:${field.name}`, `Platelets in field ${field.name}`, field.scale ? "" : "scale not known", true)),
    make("p", {className: "soft small", textContent: "Another field: open it in Fields first. The estimate of the platelets is rough, and needs the scale."}),
    ...Object.entries(data.known_findings).flatMap(([group, names]) => [make("h3", {textContent: group}), ...names.map(grade)]));
  $("#findings-dialog").showModal();
}

const when = (at) => new Date(at).toLocaleString([], {dateStyle: "medium", timeStyle: "short"});

// ---------------------------------------------------------------------------------------------- the chosen cells

const chosen = () => (gallery ? gallery.chosen : new Set());

function drawSelection() {
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

function onChosen() {
  drawSelection();
  viewer?.refresh(chosen());
  if (gallery.active !== null) drawCell(gallery.active);
}

async function drawCell(cell) {
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
    svg("image", {href: `${path}/cells/${cell}/around.jpg?v=${data.version}`, x: left, y: top, width: side, height: side}));
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

// ---------------------------------------------------------------------------------------------- decisions

/** Say why nothing can be decided now; false where it can. */
function cannot(list) {
  if (data.locked) toast(`Signed by ${data.signed.who} and locked. Amend it to change anything.`);
  else if (!list.length) toast("Select a cell first.");
  return data.locked || !list.length;
}

/** Decide on the chosen cells: shown at once, and sent. */
function decide(did, type = null, list = [...chosen()]) {
  if (cannot(list)) return undefined;
  const fresh = list.filter((cell) => did === "type" ? cells().now[cell] !== type || cells().how[cell] !== CONFIRMED
    : did === "confirm" ? cells().how[cell] !== CONFIRMED : (cells().how[cell] === REJECTED) === (did === "restore"));
  if (!fresh.length) return heard("These cells stand so already.");
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
  else onChosen();
  if (after !== null) gallery.reveal(after);
  viewer.refresh(chosen());
}

/** Where the eye goes next when the chosen cells leave the list that is shown: the cell behind them. */
function following(list) {
  if (view === "field" || filter !== "open") return null;
  const last = Math.max(...list.map((cell) => gallery.placed.get(cell)?.order ?? -1)), gone = new Set(list);
  return gallery.flow.slice(last + 1).find((cell) => !gone.has(cell)) ?? gallery.flow.find((cell) => !gone.has(cell)) ?? null;
}

function rejectOrRestore() {
  const list = [...chosen()];
  decide(list.length && list.every((cell) => cells().how[cell] === REJECTED) ? "restore" : "reject");
}

function turn(what) {
  if (data[what] && !data.locked) saver.send(what).then(() => heard(what === "undo" ? "Undone" : "Done again"), () => {});
}

async function reload(problem) {
  toast(problem);
  try {
    take(await saver.get());
    refresh();
  } catch (failed) {
    toast(failed.message);
  }
}

// ---------------------------------------------------------------------------------------------- cells that one draws

let middles = [];
const HINTS = {add: "Click the middle of the cell that was missed. Esc ends.", split: "Click the middle of each of the two cells; V again splits by the shape of the nucleus. Esc ends."};

/** Begin or end to point at places of the field: "add", "split" or null. */
function aim(what) {
  middles = [];
  viewer.aim(what);
  for (const button of $$("[data-aim]")) button.setAttribute("aria-pressed", button.dataset.aim === what);
  $("#hint").textContent = what ? HINTS[what] : "";
  $("#hint").hidden = !what;
}

function addMissed() {
  if (data.locked) return cannot([]);
  if (view !== "field") setView("field");
  aim(viewer.aiming === "add" ? null : "add");
  focus();
}

function split() {
  if (cannot([...chosen()])) return;
  if (chosen().size !== 1) return toast("Select one cell to split it.");
  if (view === "field" && viewer.aiming !== "split") return aim("split");
  aim(null);
  draw("split", {cell: gallery.active}, "Split in two");
}

function join() {
  const list = [...chosen()];
  if (cannot(list)) return;
  if (list.length < 2 || list.length > 4 || new Set(list.map((cell) => cells().field[cell])).size > 1) return toast("Select two to four cells of one field that touch.");
  draw("join", {cells: list}, "Joined");
}

function pointed(field, x, y) {
  const point = [Math.max(x - 0.5, 0), Math.max(y - 0.5, 0)];
  if (viewer.aiming === "add") return draw("cells", {field, point}, "Added");
  viewer.mark(x, y);
  middles.push(point);
  if (middles.length < 2) return;
  const both = middles;
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

function comment(cell = null) {
  const list = data.comments.filter((one) => one.cell === cell);
  ask($("#comment-dialog"), (text) => saver.send("comments", {text, cell}), () => {
    $("#comment-title").textContent = cell === null ? "Comment on the smear" : `Comment on cell ${nameOf(cell)}`;
    $("#comment-dialog form").elements.text.value = "";
    $("#comment-list").replaceChildren(...list.map((one) => make("p", {className: "said"}, make("span", {textContent: one.text}), make("span", {className: "soft", textContent: ` ${one.who}, ${when(one.at)}`}))));
  });
}

function signOrAmend() {
  if (data.locked) return ask($("#amend-dialog"), (text) => saver.send("amendments", {text}));
  const {flagged, unsure, total} = data.standing;
  ask($("#sign-dialog"), (text) => saver.send("signature", {text}), () => {
    $("#sign-name").textContent = data.me;
    $("#sign-count").textContent = `${many(total)} leukocytes`;
    const words = [flagged.length && `${many(flagged.length)} flagged`, unsure.length && `${many(unsure.length)} unsure`].filter(Boolean).join(" and ");
    $("#sign-open").replaceChildren(...(words ? [make("p", {className: "strip warn"}, `Not possible yet: ${words} cells are not answered. `,
      make("button", {type: "button", className: "quiet", textContent: "Show them", onclick: () => { $("#sign-dialog").close(); setFilter("open"); next(); }}))] : []));
    $("#sign-dialog .primary").disabled = Boolean(words);
  });
}

function countersign() {
  const {at} = data.signed;  // what the dialog shows; the page goes on meanwhile
  ask($("#countersign-dialog"), async (text) => {
    if (data.signed?.at !== at) throw new Error("This smear was amended meanwhile. Close this and look at it again.");
    await saver.send("countersignature", {text});
  }, () => {
    $("#countersign-name").textContent = data.me;
    $("#countersign-first").textContent = data.signed.who;
  });
}

// ---------------------------------------------------------------------------------------------- menu, views, messages

function menu(x, y) {
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

function addType() {
  const list = [...chosen()];
  ask($("#type-dialog"), async (text) => {
    const said = await saver.send("types", {text});
    if (list.length) decide("type", said.types.length - 1, list);
  }, () => { $("#type-dialog form").elements.text.value = ""; });
}

function setView(wanted) {
  if (wanted !== "field") aim(null);
  view = wanted;
  document.body.dataset.view = view;
  for (const button of $$("[data-view]", $(".tools"))) button.setAttribute("aria-pressed", button.dataset.view === view);
  $("#gallery").hidden = view !== "gallery";
  $("#viewer").hidden = view !== "field";
  if (view === "field") showField(gallery.active === null ? viewer.place ?? 0 : cells().field[gallery.active]);
  else gallery.layout();
  drawSelection();
}

function showField(place) {
  $("#field-list").value = place;
  $("#field-before").disabled = place === 0;
  $("#field-next").disabled = place === data.fields.length - 1;
  return viewer.show(place);
}

async function inField() {
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

function setFilter(wanted) {
  filter = wanted;
  for (const button of $$("[data-filter]")) button.setAttribute("aria-pressed", button.dataset.filter === filter);
  gallery.box.scrollTop = 0;
  gallery.layout();
  if (filter === "open" && gallery.flow.length && !gallery.placed.has(gallery.active)) gallery.choose([gallery.flow[0]], gallery.flow[0]);
}

function next() {
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
function focus() { $(view === "field" ? "#viewer" : "#gallery").focus({preventScroll: true}); }

let vanishes;
function toast(text) {
  const box = $("#toast");
  box.textContent = text;
  box.hidden = false;
  clearTimeout(vanishes);
  vanishes = setTimeout(() => { box.hidden = true; }, 7000);
}

function heard(text) { $("#heard").textContent = text; }

function saving(kind, text) {
  const box = $("#saving");
  if (box.textContent !== text) box.textContent = text;
  box.dataset.kind = kind;
}

// ---------------------------------------------------------------------------------------------- mouse and touch

function pointing() {
  const box = $("#gallery"), canvas = $("#canvas"), ghost = $("#ghost"), frame = $("#box");
  let start = null, hold;
  const point = (event) => { const edge = canvas.getBoundingClientRect(); return {x: event.clientX - edge.left, y: event.clientY - edge.top}; };
  const tileOf = (target) => target.closest?.(".tile");

  box.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.target.closest("button")) return;
    const tile = tileOf(event.target);
    start = {x: event.clientX, y: event.clientY, at: point(event), tile, touch: event.pointerType === "touch", before: new Set(event.ctrlKey || event.metaKey ? chosen() : []),
      kind: null, boxed: !tile || event.shiftKey};
    const after = new Set(chosen()); // as it is now: the browser may tell of a long touch by itself, too
    if (!after.delete(tile?.cell)) after.add(tile?.cell);
    if (start.touch && tile) hold = setTimeout(() => { start = null; box.dataset.several = "yes"; gallery.choose(after, tile.cell); }, 500);
  });
  addEventListener("pointermove", (event) => {
    if (!start) return;
    const far = Math.hypot(event.clientX - start.x, event.clientY - start.y) > 6;
    if (far) clearTimeout(hold);
    if (start.touch) { if (far) start = null; return; }
    if (!start.kind && far) {
      start.kind = start.boxed ? "box" : "drag";
      box.setPointerCapture(event.pointerId);
      if (start.kind === "drag" && !chosen().has(start.tile.cell)) gallery.choose([start.tile.cell], start.tile.cell);
      if (start.kind === "drag" && data.locked) start = null;
    }
    if (start?.kind === "box") dragBox(event);
    if (start?.kind === "drag") dragCells(event);
  });
  addEventListener("pointerup", (event) => {
    clearTimeout(hold);
    if (!start) return;
    const {kind, tile, touch} = start;
    if (kind === "drag") drop(event);
    else if (kind !== "box") click(event, tile, touch);
    stop();
  });
  addEventListener("pointercancel", () => { clearTimeout(hold); stop(); });
  addEventListener("keydown", (event) => { if (event.key === "Escape" && start?.kind) { stop(); event.stopImmediatePropagation(); } }, true);

  function click(event, tile, touch) {
    if (!tile) { if (!event.ctrlKey && !event.shiftKey) gallery.choose([], gallery.active); return; }
    box.focus({preventScroll: true});
    if (!chosen().size) delete box.dataset.several;
    if (event.ctrlKey || event.metaKey || (touch && box.dataset.several)) gallery.toggle(tile.cell);
    else if (event.shiftKey) gallery.extend(tile.cell);
    else gallery.choose([tile.cell], tile.cell);
  }

  function dragBox(event) {
    const edge = box.getBoundingClientRect();
    if (event.clientY > edge.bottom - 30) box.scrollTop += 14;
    if (event.clientY < edge.top + 30) box.scrollTop -= 14;
    const now = point(event), area = {left: Math.min(start.at.x, now.x), right: Math.max(start.at.x, now.x), top: Math.min(start.at.y, now.y), bottom: Math.max(start.at.y, now.y)};
    const shift = canvas.getBoundingClientRect();
    Object.assign(frame.style, {left: `${area.left + shift.left}px`, top: `${Math.max(area.top + shift.top, edge.top)}px`, width: `${area.right - area.left}px`,
      height: `${Math.min(area.bottom + shift.top, edge.bottom) - Math.max(area.top + shift.top, edge.top)}px`});
    frame.hidden = false;
    const inside = gallery.within(area);
    gallery.choose([...start.before, ...inside], inside.at(-1) ?? gallery.active, {quiet: true});
    drawSelection();
  }

  function dragCells(event) {
    const target = groupAt(event), list = chosen().size;
    ghost.textContent = `${list} cell${list > 1 ? "s" : ""}${target !== null ? ` → ${target === "rejected" ? "reject" : data.types[target]?.label ?? ""}` : ""}`;
    ghost.style.transform = `translate(${event.clientX + 14}px, ${event.clientY + 10}px)`;
    ghost.hidden = false;
    for (const one of $$("[data-group]")) one.classList.toggle("target", one.dataset.group === target);
  }

  function groupAt(event) {
    const under = document.elementFromPoint(event.clientX, event.clientY)?.closest("#differential [data-group]");
    const found = under?.dataset.group ?? gallery.groupAt(event.clientX, event.clientY);
    return found === "rejected" || data.types[found] ? found : null;
  }

  function drop(event) {
    const target = groupAt(event);
    if (target === "rejected") decide("reject");
    else if (target !== null && [...chosen()].some((cell) => cells().now[cell] !== Number(target) || cells().how[cell] === REJECTED)) decide("type", Number(target));
  }

  function stop() {
    if (start?.kind === "box") onChosen();
    start = null;
    ghost.hidden = frame.hidden = true;
    for (const one of $$(".target")) one.classList.remove("target");
  }

  box.addEventListener("contextmenu", (event) => {
    const tile = tileOf(event.target);
    if (!tile) return;
    event.preventDefault();
    if (event.pointerType === "touch") return; // holding selects several
    if (!chosen().has(tile.cell)) gallery.choose([tile.cell], tile.cell);
    menu(event.clientX, event.clientY);
  });
  box.addEventListener("dblclick", (event) => { if (tileOf(event.target)) inField(); });
}

// ---------------------------------------------------------------------------------------------- keys

function keyed(event) {
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

function menuKey(event, popup) {
  const items = $$("button", popup), at = items.indexOf(document.activeElement), key = event.key;
  if (key === "Escape" || key === "Tab") { popup.hidden = true; focus(); return true; }
  if (key === "ArrowDown" || key === "ArrowUp") { items[(at + (key === "ArrowDown" ? 1 : -1) + items.length) % items.length].focus(); return true; }
  if (key.length === 1 && data.types.some((one) => one.key === key.toLowerCase())) { popup.hidden = true; return false; }
  return false;
}

function openMenu() {
  const tile = $(`#cell-${gallery.active}`), edge = (view === "gallery" && tile ? tile : $("#selection")).getBoundingClientRect();
  menu(edge.left + 20, view === "gallery" && tile ? edge.bottom : edge.top);
}

function help() {
  const row = ([key, what]) => make("div", {}, make("dt", {}, make("kbd", {textContent: key})), make("dd", {textContent: what}));
  $("#keys").replaceChildren(make("dl", {}, ...data.types.filter((type) => type.key).map((type) => row([type.key.toUpperCase(), type.label]))), make("dl", {}, ...COMMANDS.map(row)));
  $("#help-dialog").showModal();
}

// ---------------------------------------------------------------------------------------------- the beginning

function take(said) {
  const {cells: table} = said;
  data = said;
  sortCells();
  open = new Set([...said.standing.unsure, ...said.standing.flagged]);
  if (viewer) viewer.cells = table;
  if (viewer) takeOutlines();
}

/** The outlines of the cells that were drawn before the page was opened. */
function takeOutlines() {
  data.added?.paths.forEach((path, i) => viewer.add(cells().field[data.added.first + i], cells().number[data.added.first + i], path));
}

function wire() {
  pointing();
  closers();
  naming($("#me"), (name) => { data.me = name; saver.get(`/news?since=${data.seq}`).then(news); });
  document.addEventListener("keydown", keyed);
  for (const dialog of $$("dialog")) dialog.addEventListener("close", focus);
  $("#undo").addEventListener("click", () => turn("undo"));
  $("#redo").addEventListener("click", () => turn("redo"));
  $("#sign").addEventListener("click", signOrAmend);
  $("#countersign").addEventListener("click", countersign);
  $("#comment-smear").addEventListener("click", () => comment());
  $("#help").addEventListener("click", help);
  $("#give")?.addEventListener("click", () => ask($("#give-dialog"), async (text) => { await saver.send("readings", {text}); toast(`Given to ${text}. It stands in the worklist.`); }));
  $("#findings").addEventListener("click", openFindings);
  $("#findings-menu").addEventListener("click", openFindings);
  $("#target").replaceChildren(...data.targets.map((one) => make("option", {value: one, textContent: one})));
  $("#target").addEventListener("change", () => { saver.send("values", {name: "target", value: Number($("#target").value)}).catch(() => {}); focus(); });
  $("#column").addEventListener("change", () => { drawCount(); focus(); });
  for (const button of $$(".tools [data-view]")) button.addEventListener("click", () => setView(button.dataset.view));
  for (const button of $$("[data-filter]")) button.addEventListener("click", () => { setFilter(button.dataset.filter); focus(); });
  for (const button of $$("[data-size]")) {
    button.addEventListener("click", () => {
      gallery.size = Number(button.dataset.size);
      for (const one of $$("[data-size]")) one.setAttribute("aria-pressed", one === button);
      gallery.layout();
      if (gallery.active !== null) gallery.reveal(gallery.active);
    });
  }
  for (const button of $$("[data-aim]")) button.addEventListener("click", {add: addMissed, split, join}[button.dataset.aim]);
  const acts = {confirm: () => decide("confirm"), menu: openMenu, reject: rejectOrRestore, field: inField, next};
  for (const button of $$("[data-do]")) button.addEventListener("click", () => acts[button.dataset.do]());
  const list = $("#field-list");
  data.fields.forEach((field, i) => list.append(make("option", {value: i, textContent: `${field.name}: ${cells().field.filter((one) => one === i).length} cells${field.missing ? ", photograph missing" : ""}`})));
  list.addEventListener("change", () => showField(Number(list.value)));
  $("#field-before").addEventListener("click", () => showField(viewer.place - 1));
  $("#field-next").addEventListener("click", () => showField(viewer.place + 1));
  $("#zoom-in").addEventListener("click", () => viewer.zoom(1.4));
  $("#zoom-out").addEventListener("click", () => viewer.zoom(1 / 1.4));
  $("#zoom-all").addEventListener("click", () => viewer.whole());
  $("#viewer").addEventListener("contextmenu", (event) => { event.preventDefault(); const shape = event.target.closest(".shape"); if (shape) { if (!chosen().has(shape.cell)) gallery.choose([shape.cell], shape.cell); menu(event.clientX, event.clientY); } });
  for (const tab of $$(".tabs button")) {
    tab.addEventListener("click", () => {
      $(".desk").dataset.tab = tab.dataset.tab;
      for (const one of $$(".tabs button")) one.setAttribute("aria-pressed", one === tab);
      gallery.layout();
    });
  }
  document.addEventListener("pointerdown", (event) => { const popup = $("#menu"); if (!popup.contains(event.target)) popup.hidden = true; });
  setInterval(look, 10000);
}

/** What others have done meanwhile. */
async function look() {
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

async function begin() {
  saver = new Saver(smear, {news, show: saving, since: () => data.seq, refused: (_, problem) => reload(problem)});
  take(await saver.get());
  viewer = new Viewer($("#viewer"), {path, version: data.version, fields: data.fields, cells: data.cells, fail: toast,
    chosen: (cell, event) => { if (event.ctrlKey || event.metaKey) gallery.toggle(cell); else gallery.choose([cell], cell); },
    pointed, look: (cell) => ({absent: !isThere(cell), colour: typeOf(cell)?.colour ?? "#777", dashed: !counts(cell), gone: cells().how[cell] === REJECTED})});
  takeOutlines();
  gallery = new Gallery($("#gallery"), $("#canvas"), {groups, draw: drawTile, title: titleOf, on: {chosen: onChosen}});
  document.body.dataset.view = view;
  wire();
  refresh();
  saving("saved", "Saved");
  focus();
}

begin().catch((problem) => { saving("lost", problem.message); toast(problem.message); });
