// Mouse and touch in the gallery: select, drag a box, drag cells to another group.
import {$, $$} from "./dom.js";
import {decide} from "./decisions.js";
import {menu} from "./menu.js";
import {drawSelection} from "./selection.js";
import {REJECTED, cells, chosen, data, gallery} from "./smear.js";
import {inField} from "./views.js";

export function pointing() {
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
    if (start?.kind === "box") gallery.on.chosen();
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
