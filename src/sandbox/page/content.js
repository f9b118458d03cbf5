// A message as its recipient would see it: one function for each type.

import { h, icon } from "./element.js";
import { bytes, w } from "./words.js";

export function content(message) {
  return SHOWN[message.type](message.body);
}

const SHOWN = { txt, img, audio, video, file, loc, cmd, custom };

// The few words that stand for a message in a list.
export function preview({ type, body }) {
  switch (type) {
    case "txt": return body.msg;
    case "loc": return `[${w(type)}] ${body.addr}`;
    case "cmd": return `[${w(type)}] ${body.action}`;
    case "custom": return `[${w(type)}] ${body.customEvent ?? ""}`;
    default: return `[${w(type)}] ${body.filename ?? ""}`;
  }
}

function txt(body) {
  // `auto`: the words say which way they run, and cannot turn what stands around them.
  return h("p", { class: "bubble words", dir: "auto" }, body.msg);
}

function img(body) {
  const { width, height } = body.size ?? {};
  const name = body.filename ?? w("img");
  const url = place(body.url, body.secret);
  if (!url) return missing("fileGone");
  const image = h("img", { src: url.thumbnail, alt: name, loading: "lazy", width, height });
  const button = h("button", { class: "picture", title: w("viewImage", name), onclick: () => view(url.content, name) }, image);
  image.addEventListener("error", () => refused(url, button, body));
  return button;
}

function audio(body) {
  return player("audio", body, body.length);
}

function video(body) {
  return player("video", body, body.length);
}

function player(tag, body, seconds) {
  const url = place(body.url, body.secret);
  if (!url) return missing("fileGone");
  const thumb = body.thumb && place(body.thumb, body.thumb_secret);
  const media = h(tag, { src: url.content, controls: true, preload: "metadata", poster: thumb && thumb.content });
  const name = h("figcaption", {}, h("bdi", {}, body.filename ?? ""), seconds ? h("span", {}, w("duration", seconds)) : null);
  const figure = h("figure", { class: `player ${tag}` }, media, name);
  media.addEventListener("error", () => refused(url, media, body, "unplayable"));
  return figure;
}

function file(body) {
  const url = place(body.url, body.secret);
  const name = body.filename ?? w("file");
  if (!url) return missing("fileGone");
  const size = h("small", {}, "…");
  const link = h("a", { class: "card file", href: url.content, download: name },
    h("span", { class: "badge" }, icon("file")), h("span", { class: "grow" }, h("bdi", {}, name), size),
    h("span", { class: "glyph", title: w("download") }, icon("down")));
  fetch(url.content, { method: "HEAD" }).then((answer) => {
    if (answer.ok) size.textContent = bytes(Number(answer.headers.get("content-length")));
    else link.replaceWith(missing(answer.status === 403 ? "fileForbidden" : "fileGone"));
  });
  return link;
}

function loc(body) {
  return h("div", { class: "card location" },
    h("div", { class: "map", "aria-hidden": "true" }, icon("pin")),
    h("div", { class: "place" }, h("bdi", {}, body.addr), h("small", {}, `${body.lat}, ${body.lng}`)));
}

function cmd(body) {
  return h("div", { class: "card command" },
    h("span", { class: "badge" }, icon("terminal")),
    h("span", { class: "grow" }, h("code", { dir: "auto" }, body.action), h("small", {}, w("cmdNote"))));
}

function custom(body) {
  return h("div", { class: "card custom" },
    h("div", { class: "event" }, icon("puzzle"), h("code", {}, body.customEvent ?? w("custom"))),
    fields(body.customExts ?? {}));
}

// Names and values, one under the other.
export function fields(object) {
  const rows = Object.entries(object).map(([name, value]) => [
    h("dt", {}, h("bdi", {}, name)),
    h("dd", { dir: "auto" }, typeof value === "string" ? value : JSON.stringify(value)),
  ]);
  return rows.length ? h("dl", { class: "fields" }, rows) : null;
}

// Where this page has the file of a message. Nothing is ever fetched from elsewhere.
function place(url, secret) {
  const uuid = /\/chatfiles\/([0-9a-fA-F-]{36})/.exec(url)?.[1];
  if (!uuid) return null;
  const query = secret ? `?share-secret=${encodeURIComponent(secret)}` : "";
  return { content: `/sandbox/files/${uuid}/content${query}`, thumbnail: `/sandbox/files/${uuid}/thumbnail${query}` };
}

function missing(why) {
  return h("p", { class: "missing" }, icon("info"), w(why));
}

// Says why a file is not shown; one that is here can be saved all the same.
async function refused(url, element, body, otherwise = "fileGone") {
  const { ok, status } = await fetch(url.content, { method: "HEAD" });
  if (!ok) element.replaceWith(missing(status === 403 ? "fileForbidden" : "fileGone"));
  else element.replaceWith(h("div", { class: "stack" }, missing(otherwise), file(body)));
}

function view(source, name) {
  const viewer = document.getElementById("viewer");
  const close = h("button", { class: "icon", "aria-label": w("close"), onclick: () => viewer.close() }, icon("close"));
  viewer.replaceChildren(h("header", {}, h("bdi", {}, name), close), h("img", { src: source, alt: name }));
  viewer.onclick = (event) => {
    if (event.target === viewer) viewer.close();
  };
  viewer.showModal();
}
