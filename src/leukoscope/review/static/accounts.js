// The accounts: an administrator adds, disables and enables them, and gives roles and passwords.
import {$, $$, ask, closers, naming, post, twice} from "./dom.js";

const ACCOUNTS = "/api/v1/accounts", ROLE = "/api/v1/accounts/role", PASSWORD = "/api/v1/accounts/password", DISABLED = "/api/v1/accounts/disabled";

closers();
naming($("#me"), () => {});

async function act(path, body) {
  await post(path, body);
  location.reload();
}

function askFor(id, name, send, prepare = () => {}) {
  const dialog = $(`#${id}-dialog`);
  ask(dialog, (_, form) => send(form), () => {
    $("form", dialog).reset();
    prepare($("form", dialog));
    if (name) $("h2", dialog).textContent = `${id === "role" ? "Role" : "New password"} of ${name}`;
  });
}

$("#add").addEventListener("click", () => askFor("add", null, (form) => act(ACCOUNTS, {
  name: form.elements.person.value, role: form.elements.role.value, password: twice(form)})));

for (const button of $$("[data-change]")) {
  const {account: name, role} = button.closest("tr").dataset, what = button.dataset.change;
  button.addEventListener("click", () => {
    if (what === "role") askFor("role", name, (form) => act(ROLE, {name, role: form.elements.role.value}), (form) => { form.elements.role.value = role; });
    else if (what === "password") askFor("reset", name, (form) => act(PASSWORD, {name, password: twice(form)}));
    else act(DISABLED, {name, disabled: what === "disable"}).catch((problem) => { $("#problem").textContent = problem.message; $("#problem").hidden = false; });
  });
}
