import {$, $$, closers, naming} from "./dom.js";

const body = $("#work tbody"), search = $("#search"), state = $("#state");
closers();
naming($("#me"), (name) => { $("#me").textContent = name; });

function filter() {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of body.rows) {
    row.hidden = !(words.every((word) => row.dataset.search.includes(word))
      && (!state.value || row.dataset.state === state.value));
    shown += !row.hidden;
  }
  $("#none").hidden = shown > 0;
}

search.addEventListener("input", filter);
state.addEventListener("change", filter);
$("#reset").addEventListener("click", () => { search.value = state.value = ""; filter(); search.focus(); });

for (const button of $$("[data-sort]")) {
  button.addEventListener("click", () => {
    const header = button.closest("th"), down = header.getAttribute("aria-sort") === "ascending";
    const value = (row) => $(`[data-key="${button.dataset.sort}"]`, row).firstChild.textContent.trim();
    const number = (row) => Number(value(row).replaceAll(",", ""));
    const order = "number" in button.dataset ? (a, b) => number(a) - number(b)
      : (a, b) => value(a).localeCompare(value(b), undefined, {numeric: true});
    for (const other of $$("th[aria-sort]")) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    body.append(...[...body.rows].sort((a, b) => (down ? -1 : 1) * order(a, b)));
  });
}

document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement !== search && !$("dialog[open]")) {
    event.preventDefault();
    search.focus();
  }
});

// While a folder is watched, the list is loaded again when something has changed and nobody is typing.
const watch = $("#watch");
if (watch) {
  setInterval(async () => {
    const page = await fetch("/").then((answer) => answer.text()).catch(() => "");
    const next = new DOMParser().parseFromString(page, "text/html");
    const fresh = $("#watch", next);
    if (!fresh || fresh.dataset.version === watch.dataset.version && $("#work tbody", next).rows.length === body.rows.length) return;
    watch.dataset.version = fresh.dataset.version;
    watch.replaceChildren(...fresh.childNodes);
    body.replaceChildren(...$("#work tbody", next).rows);
    $(".head p").textContent = $(".head p", next).textContent;
    filter();
  }, 5000);
}
