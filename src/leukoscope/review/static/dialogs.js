// Dialogs of a smear: comments, signatures, amending, a new type.
import {$, ask, make} from "./dom.js";
import {decide} from "./decisions.js";
import {chosen, data, many, nameOf, saver, when} from "./smear.js";
import {next, setFilter} from "./views.js";

export function comment(cell = null) {
  const list = data.comments.filter((one) => one.cell === cell);
  ask($("#comment-dialog"), (text) => saver.send("comments", {text, cell}), () => {
    $("#comment-title").textContent = cell === null ? "Comment on the smear" : `Comment on cell ${nameOf(cell)}`;
    $("#comment-dialog form").elements.text.value = "";
    $("#comment-list").replaceChildren(...list.map((one) => make("p", {className: "said"}, make("span", {textContent: one.text}), make("span", {className: "soft", textContent: ` ${one.who}, ${when(one.at)}`}))));
  });
}

export function signOrAmend() {
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

export function countersign() {
  const {at} = data.signed;  // what the dialog shows; the page goes on meanwhile
  ask($("#countersign-dialog"), async (text) => {
    if (data.signed?.at !== at) throw new Error("This smear was amended meanwhile. Close this and look at it again.");
    await saver.send("countersignature", {text});
  }, () => {
    $("#countersign-name").textContent = data.me;
    $("#countersign-first").textContent = data.signed.who;
  });
}

export function addType() {
  const list = [...chosen()];
  ask($("#type-dialog"), async (text) => {
    const said = await saver.send("types", {text});
    if (list.length) decide("type", said.types.length - 1, list);
  }, () => { $("#type-dialog form").elements.text.value = ""; });
}
