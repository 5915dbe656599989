// What the page tells a person: a message for some seconds, words for screen readers, and whether all is saved.
import {$} from "./dom.js";

let vanishes;
export function toast(text) {
  const box = $("#toast");
  ($("dialog[open]") ?? document.body).append(box); // an open dialog covers everything else
  box.textContent = text;
  box.hidden = false;
  clearTimeout(vanishes);
  vanishes = setTimeout(() => { box.hidden = true; }, 7000);
}

export function heard(text) { $("#heard").textContent = text; }

export function saving(kind, text) {
  const box = $("#saving");
  if (box.textContent !== text) box.textContent = text;
  box.dataset.kind = kind;
}
