// The model of the laboratory: begin to fit it, and wait until it has ended.
import {$, $$, closers, naming, post} from "./dom.js";

const EVERY = 2000; // ms

closers();
naming($("#me"), (name) => { $("#me").textContent = name; });

async function wait() {
  const said = await fetch("/api/v1/model").then((answer) => answer.json()).catch(() => null);
  if (said && !said.running) location.reload();
  else setTimeout(wait, EVERY);
}

for (const button of $$("[data-fit]")) button.addEventListener("click", async () => {
  for (const one of $$("[data-fit]")) one.disabled = true;
  $("#progress").textContent = "Fitting …";
  $("#problem").hidden = true;
  try {
    await post("/api/v1/model", {bundle: button.dataset.fit});
    setTimeout(wait, EVERY);
  } catch (problem) {
    $("#progress").textContent = "";
    $("#problem").textContent = problem.message;
    $("#problem").hidden = false;
    for (const one of $$("[data-fit]")) one.disabled = false;
  }
});
if ($("#progress").dataset.running) wait();
