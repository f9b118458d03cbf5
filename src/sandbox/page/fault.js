// Faults on demand: what there is, and a form for more.

import { h, icon } from "./element.js";
import { w } from "./words.js";

const KINDS = [
  "status", "latency", "reset_before", "reset_after", "close", "silence", "truncated", "html",
  "redirect", "without_ids", "oversized", "slow", "token_revoked", "outage",
];
const SCOPES = [
  "sends", "users", "groups", "chatrooms", "group_members", "chatroom_members",
  "upload", "download", "token", "all",
];
const DELAYED = { latency: "3s", slow: "10ms", outage: "5s" };

let errors = null;

export async function openFaults(dialog, faults) {
  errors ??= (await (await fetch("/sandbox/faults/errors")).json()).errors;
  dialog.replaceChildren(
    h("header", {}, h("h2", {}, w("faults")),
      h("button", { class: "icon", "aria-label": w("close"), title: w("close"), onclick: () => dialog.close() }, icon("close"))),
    h("p", { class: "lead" }, w("faultText")),
    h("ol", { class: "faults" }),
    form());
  dialog.onclick = (event) => {
    if (event.target === dialog) dialog.close();
  };
  showFaults(dialog, faults);
  if (!dialog.open) dialog.showModal();
}

// The list in the dialog; it may be closed.
export function showFaults(dialog, faults) {
  const list = dialog.querySelector(".faults");
  if (!list) return;
  list.replaceChildren(...faults.map(row));
  if (!faults.length) list.append(h("li", { class: "none" }, w("faultNone")));
}

function row(fault) {
  const what = fault.kind === "status"
    ? `${fault.name ?? fault.status} ${fault.error ?? ""}`
    : w(`kind.${fault.kind}`);
  const facts = [w(`scope.${fault.endpoint}`)];
  if (fault.delay) facts.push(fault.delay);
  if (fault.probability < 1) facts.push(`${Math.round(fault.probability * 100)} %`);
  facts.push(fault.left === null ? w("always") : w("left", fault.left), w("fired", fault.fired));
  return h("li", { class: fault.left === 0 ? "used" : "" },
    h("div", { class: "grow" }, h("strong", {}, what), h("small", {}, facts.join(" · "))),
    h("button", { class: "icon", title: w("remove"), "aria-label": `${w("remove")} ${what}`,
      onclick: () => fetch(`/sandbox/faults/${fault.id}`, { method: "DELETE" }) }, icon("bin")));
}

function form() {
  const choose = (name, values, text) => h("select", { name }, values.map((value) => h("option", { value }, text(value))));
  const kind = choose("kind", KINDS, (kind) => w(`kind.${kind}`));
  const name = h("select", { name: "name" }, errors.map((error) =>
    h("option", { value: error.name }, `${error.status} ${error.description}`)));
  name.value = "call_rate";
  const delay = h("input", { name: "delay", size: 6, pattern: "[0-9]+(ms|s|m)" });
  const problem = h("output", { class: "problem", role: "alert" });
  const nameLabel = h("label", { class: "wide" }, w("error"), name);
  const delayLabel = h("label", {}, w("delay"), delay);
  const adapt = () => {
    nameLabel.hidden = kind.value !== "status";
    delayLabel.hidden = !(kind.value in DELAYED);
    delay.value = DELAYED[kind.value] ?? "";
  };
  kind.addEventListener("change", adapt);
  adapt();
  const element = h("form", { class: "fault-form" },
    h("label", {}, w("kind"), kind),
    h("label", {}, w("endpoint"), choose("endpoint", SCOPES, (scope) => w(`scope.${scope}`))),
    nameLabel, delayLabel,
    h("label", {}, w("probability"), h("span", { class: "unit" }, h("input", { name: "probability", type: "number", min: 1, max: 100, value: 100 }), "%")),
    h("label", {}, w("times"), h("input", { name: "count", type: "number", min: 1, max: 1000000, placeholder: "∞" })),
    h("div", { class: "row end wide" }, problem, h("button", { class: "primary" }, w("faultAdd"))));
  element.addEventListener("submit", async (event) => {
    event.preventDefault();
    problem.value = await add(new FormData(element));
  });
  return element;
}

// Empty, or what is wrong.
async function add(data) {
  const wanted = { kind: data.get("kind"), endpoint: data.get("endpoint"), probability: Number(data.get("probability")) / 100 };
  if (wanted.kind === "status") wanted.name = data.get("name");
  if (data.get("delay")) wanted.delay = data.get("delay");
  if (data.get("count")) wanted.count = Number(data.get("count"));
  const answer = await fetch("/sandbox/faults", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(wanted),
  });
  return answer.ok ? "" : (await answer.json()).error;
}
