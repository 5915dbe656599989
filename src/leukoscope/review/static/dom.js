// Small helpers of all pages. Text is always text: nothing is ever parsed as markup.

export const $ = (selector, within = document) => within.querySelector(selector);
export const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];

/** An element with properties and children; keys with a dash, and role, are attributes. */
export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.includes("-") || key === "role" || key === "for") element.setAttribute(key, value === true ? "" : value);
    else element[key] = value;
  }
  element.append(...children.filter((one) => one !== null && one !== undefined && one !== false));
  return element;
}

export function svg(name, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

export const csrf = () => $('meta[name="csrf"]').content;

/** Send a change that belongs to no smear; the answer. Throws an Error with what the server says. */
export async function post(path, body = {}) {
  let answer;
  try {
    answer = await fetch(path, {method: "POST", headers: {"x-leukoscope": csrf(), "content-type": "application/json"}, body: JSON.stringify(body)});
  } catch {
    throw new Error("The server does not answer.");
  }
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.error);
  return said;
}

/** A new password that was written twice. */
export function twice(form) {
  if (form.elements.new.value !== form.elements.again.value) throw new Error("The two new passwords differ.");
  return form.elements.new.value;
}

/** Open a dialog with a form; `send` gets its text and the form, and may throw an Error whose message is shown. */
export function ask(dialog, send, prepare = () => {}) {
  const form = $("form", dialog), error = $(".error", dialog), field = form.elements.text;
  prepare();
  error.hidden = true;
  form.onsubmit = async (event) => {
    event.preventDefault();
    const button = $("button.primary", form);
    button.disabled = true;
    try {
      await send(field?.value, form);
      dialog.close();
    } catch (problem) {
      error.textContent = problem.message;
      error.hidden = false;
    } finally {
      button.disabled = false;
    }
  };
  dialog.showModal();
  (field ?? $("input:not([hidden]), select", form)).focus();
}

/** Dialogs close by their buttons; menus when one clicks elsewhere or presses Escape. */
export function closers() {
  for (const button of $$("dialog [data-close]")) button.addEventListener("click", () => button.closest("dialog").close());
  document.addEventListener("click", (event) => {
    for (const menu of $$("details.menu[open]")) {
      if (!menu.contains(event.target) || event.target.closest(".panel")) menu.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    const menu = event.key === "Escape" && $("details.menu[open]");
    if (menu) {
      menu.open = false;
      $("summary", menu).focus();
    }
  });
}

/** Let a person say who they are, or log out where there are accounts. */
export function naming(button, renamed) {
  const account = $("#account-dialog");
  if (account) {
    $("form", account).addEventListener("submit", async (event) => {
      event.preventDefault();
      const answer = await fetch("/logout", {method: "POST", headers: {"x-leukoscope": csrf()}}).catch(() => null);
      if (answer && (answer.ok || answer.status === 401)) location.assign("/login");
      $(".error", account).textContent = "The server does not answer. You are still logged in.";
      $(".error", account).hidden = false;
    });
    button.addEventListener("click", () => account.showModal());
    $("#own-password").addEventListener("click", () => {
      account.close();
      ask($("#own-password-dialog"), async (_, form) => {
        await post("/api/v1/me/password", {password: form.elements.password.value, new: twice(form)});
        location.reload();
      }, () => $("#own-password-dialog form").reset());
    });
    return;
  }
  button.addEventListener("click", () => ask($("#name-dialog"), async (text) => renamed((await post("/api/v1/me", {name: text})).me)));
}
