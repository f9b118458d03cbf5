// What a message was on the wire: its request, trace, token, ids and time.

import { fields } from "./content.js";
import { copyButton, h, icon } from "./element.js";
import { locale, w } from "./words.js";

// Shows the message in the panel; `close` is what its button does.
export async function detail(panel, message, close) {
  const sent = await exact(message);
  const request = h("pre", { class: "raw", tabindex: "0" }, raw(message, sent));
  const trace = message.trace_id;
  panel.replaceChildren(
    h("header", {}, h("h2", {}, w("details")),
      h("button", { class: "icon", "aria-label": w("close"), title: w("close"), onclick: close }, icon("close"))),
    fact("received", new Date(message.received).toLocaleString(locale(), { dateStyle: "medium", timeStyle: "medium", hour12: false }), message.received),
    trace ? fact("trace", trace, trace) : fact("trace", w("traceNone")),
    fact("token", message.token ?? "–"),
    h("section", {}, h("h3", {}, w("ids")),
      h("ul", { class: "ids" }, Object.entries(message.ids).slice(0, 100).map(([to, id]) =>
        h("li", {}, h("bdi", {}, to), h("code", {}, id), copyButton(id, w("copy")))))),
    sent.ext ? h("section", {}, h("h3", {}, w("ext")), fields(sent.ext)) : "",
    h("section", {}, h("h3", {}, w("request"), copyButtonOf(request)), request));
  panel.scrollTop = 0;
  panel.hidden = false;
}

function fact(name, text, copied) {
  return h("section", { class: `fact ${name}` }, h("h3", {}, w(name)),
    h("p", {}, h("code", {}, text), copied ? copyButton(copied, w("copy")) : null));
}

function copyButtonOf(element) {
  const button = copyButton("", w("copy"));
  button.addEventListener("click", () => navigator.clipboard.writeText(element.textContent));
  return button;
}

// The request as it was on the wire, but for what would be a secret elsewhere.
function raw(message, sent) {
  const lines = [
    `POST ${message.path} HTTP/1.1`,
    "content-type: application/json",
    `authorization: Bearer ${message.token ?? ""}`,
    ...Object.entries(message.headers).map(([name, value]) => `${name}: ${value}`),
  ];
  return `${lines.join("\n")}\n\n${JSON.stringify(redacted(sent), null, 2)}`;
}

// The body once more, with its numbers as they were written: JavaScript's have no more than 53 bits.
async function exact(message) {
  if (!JSON.rawJSON) return message.request;
  const answer = await fetch(`/sandbox/messages?limit=1&before=${message.sequence + 1}`);
  const keep = (_, value, { source }) => (typeof value === "number" ? JSON.rawJSON(source) : value);
  const [found] = JSON.parse(await answer.text(), keep).messages;
  return found && String(found.sequence.rawJSON) === String(message.sequence) ? found.request : message.request;
}

function redacted(request) {
  const body = { ...request.body };
  for (const name of ["secret", "thumb_secret"]) {
    if (typeof body[name] === "string") body[name] = `${body[name].slice(0, 4)}…`;
  }
  return { ...request, body };
}
