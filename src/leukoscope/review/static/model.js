// The model of the laboratory: begin to fit it, and wait until it has ended.
import {$, closers, naming, post} from "./dom.js";

const EVERY = 2000; // ms

closers();
naming($("#me"), (name) => { $("#me").textContent = name; });

async function wait() {
  const said = await fetch("/api/v1/model").then((answer) => answer.json()).catch(() => null);
  if (said && !said.running) location.reload();
  else setTimeout(wait, EVERY);
}

$("#fit")?.addEventListener("click", async () => {
  $("#fit").disabled = true;
  $("#progress").textContent = "Fitting … this takes about a minute.";
  $("#problem").hidden = true;
  try {
    await post("/api/v1/model");
    setTimeout(wait, EVERY);
  } catch (problem) {
    $("#progress").textContent = "";
    $("#problem").textContent = problem.message;
    $("#problem").hidden = false;
    $("#fit").disabled = false;
  }
});
if ($("#progress")?.dataset.running) wait();
