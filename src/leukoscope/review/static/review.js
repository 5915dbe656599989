// The page of a smear: its parts are made, its buttons and lists connected.
import {$, $$, ask, closers, make, naming} from "./dom.js";
import {drawCount, openFindings} from "./count.js";
import {decide, rejectOrRestore, turn} from "./decisions.js";
import {comment, countersign, signOrAmend} from "./dialogs.js";
import {addMissed, join, pointed, split} from "./drawing.js";
import {Gallery} from "./gallery.js";
import {drawTile, groups, titleOf} from "./groups.js";
import {help, keyed} from "./keys.js";
import {menu, openMenu} from "./menu.js";
import {saving, toast} from "./messages.js";
import {look, news, onChosen, refresh, reload, take, takeOutlines} from "./news.js";
import {pointing} from "./pointing.js";
import {Saver} from "./saver.js";
import {REJECTED, cells, chosen, counts, data, gallery, isThere, path, replace, saver, smear, typeOf, view, viewer} from "./smear.js";
import {Viewer} from "./viewer.js";
import {focus, inField, next, setFilter, setView, showField} from "./views.js";

function wire() {
  pointing();
  closers();
  naming($("#me"), (name) => { data.me = name; saver.get(`/news?since=${data.seq}`).then(news); });
  document.addEventListener("keydown", keyed);
  for (const dialog of $$("dialog")) dialog.addEventListener("close", () => { document.body.append($("#toast")); focus(); });
  $("#undo").addEventListener("click", () => turn("undo"));
  $("#redo").addEventListener("click", () => turn("redo"));
  $("#sign").addEventListener("click", signOrAmend);
  $("#countersign").addEventListener("click", countersign);
  $("#comment-smear").addEventListener("click", () => comment());
  $("#help").addEventListener("click", help);
  $("#give")?.addEventListener("click", () => ask($("#give-dialog"), async (text) => { await saver.send("readings", {text}); toast(`Given to ${text}. It is in the worklist now.`); }));
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

async function begin() {
  replace({saver: new Saver(smear, {news, show: saving, since: () => data.seq, refused: (one, problem) => reload(problem, one.what)})});
  take(await saver.get());
  replace({viewer: new Viewer($("#viewer"), {path, version: data.version, fields: data.fields, cells: data.cells, fail: toast,
    chosen: (cell, event) => { if (event.ctrlKey || event.metaKey) gallery.toggle(cell); else gallery.choose([cell], cell); },
    pointed, look: (cell) => ({absent: !isThere(cell), colour: typeOf(cell)?.colour ?? "#777", dashed: !counts(cell), gone: cells().how[cell] === REJECTED})})});
  takeOutlines();
  replace({gallery: new Gallery($("#gallery"), $("#canvas"), {groups, draw: drawTile, title: titleOf, on: {chosen: onChosen}})});
  document.body.dataset.view = view;
  wire();
  refresh();
  saving("saved", "Saved");
  focus();
}

begin().catch((problem) => { saving("lost", problem.message); toast(problem.message); });
