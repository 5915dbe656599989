// The differential beside the gallery, and what a person enters beside the cells.
import {$, make} from "./dom.js";
import {data, gallery, many, saver, viewer, when} from "./smear.js";
import {setView} from "./views.js";

export function drawCount() {
  const {standing} = data;
  $("#total").textContent = `${many(standing.total)} leukocytes`;
  $("#target").value = standing.target;
  $("#target").disabled = data.locked;
  const shownBeside = $("#column").value, arrow = {L: "↓", H: "↑", "": ""};
  const beside = (kind) => {
    const range = kind.percent_range ?? kind.litre_range;
    if (shownBeside === "range") return range ? `${range[0]}–${range[1]}${kind.percent_range ? "" : " ×10⁹"}` : "";
    return kind.text[shownBeside] + (shownBeside === "litre" ? arrow[kind.litre_flag] : "");
  };
  const rows = standing.types.map((kind) => {
    const place = data.types.findIndex((type) => type.name === kind.name), type = data.types[place];
    const by = kind.cells - kind.machine;
    const dot = make("span", {className: "dot"}), flag = kind.flag || kind.litre_flag;
    const why = flag ? `${flag === "H" ? "above" : "below"} the reference range ${kind.flag ? `${kind.percent_range.join("–")} %` : `${kind.litre_range.join("–")} × 10⁹/l`}` : "";
    dot.style.background = type.colour;
    return make("tr", {"data-group": String(place), className: kind.cells ? "" : "empty"},
      make("th", {scope: "row"}, make("button", {type: "button", className: "type", title: `${type.label}: go to the group${type.key ? `; key ${type.key.toUpperCase()} gives this type` : ""}`,
        onclick: () => { setView("gallery"); gallery.jump(String(place)); }}, make("kbd", {textContent: type.key.toUpperCase()}), dot, make("span", {textContent: type.label}))),
      make("td", {textContent: many(kind.cells)}), make("td", {className: flag ? "flag" : "", title: why}, kind.text.value, flag ? make("span", {className: "arrow", role: "img", "aria-label": why, textContent: arrow[flag]}) : ""),
      make("td", {className: "soft", textContent: beside(kind)}),
      make("td", {className: by ? "by" : "soft", textContent: by ? `${by > 0 ? "+" : "−"}${many(Math.abs(by))}` : "·"}));
  });
  $("#differential tbody").replaceChildren(...rows);
  const aside = [[standing.cut, "cut"], [standing.damaged, "damaged"], [standing.rejected, "rejected"]].filter(([n]) => n).map(([n, word]) => `${many(n)} ${word}`);
  $("#apart").textContent = [aside.length ? `Not counted: ${aside.join(", ")}.` : "", standing.types.some((one) => one.per_hundred) ? "* per 100 leukocytes." : ""].filter(Boolean).join(" ");
  const {flagged, unsure} = standing, words = [flagged.length && `${many(flagged.length)} flagged`, unsure.length && `${many(unsure.length)} unsure`].filter(Boolean);
  $("#progress").textContent = data.locked ? `Signed by ${data.signed.who}, ${when(data.signed.at)}${data.second ? `; second signature by ${data.second.who}, ${when(data.second.at)}` : ""}` : words.length ? `To answer: ${words.join(", ")}` : standing.total ? "All flagged and unsure cells are answered." : "No leukocyte is counted.";
  $("#progress").classList.toggle("done", !words.length && (data.locked || standing.total > 0));
}

/** What was entered beside the cells, in a line. */
export function drawEntered() {
  const {standing} = data, arrow = {L: " ↓", H: " ↑", "": ""};
  const {white_cells: white, platelets} = standing, estimate = platelets?.per_litre.value;
  const words = [white !== null && `leukocytes ${white} × 10⁹/l${arrow[standing.white_flag]}`,
    platelets && (estimate !== null ? `platelets about ${Math.round(estimate)} × 10⁹/l${arrow[standing.platelet_flag]} (${Math.round(platelets.per_litre.low)}–${Math.round(platelets.per_litre.high)})` : `${platelets.cells} platelets; no estimate without a scale`),
    ...standing.findings.map(([name, grade]) => `${name} ${grade}`)].filter(Boolean);
  $("#entered").textContent = words.join(" · ");
}

export function openFindings() {
  const {values} = data.standing, enter = (name, value) => saver.send("values", {name, value}).catch(() => {});
  const number = (name, label, whole, unit = "") => {
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
  $("#entries").replaceChildren(make("h3", {textContent: "Counts"}), number("white_cells", "Leukocytes, of the analyser", false, "× 10⁹/l"),
    ...data.fields.map((field, i) => [field, i]).filter(([field, i]) => i === place || values[`platelets:${field.name}`] !== undefined).map(([field]) => number(`platelets:${field.name}`, `Platelets in field ${field.name}${field.scale ? "" : " (scale not known)"}`, true)),
    make("p", {className: "soft small", textContent: "Another field: open it in Fields first. The estimate of the platelets is rough, and needs the scale."}),
    ...Object.entries(data.known_findings).flatMap(([group, names]) => [make("h3", {textContent: group}), ...names.map(grade)]));
  $("#findings-dialog").showModal();
}
