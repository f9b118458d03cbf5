// The inbox: conversations on the left, messages on the right, as they come.

import { content, preview } from "./content.js";
import { detail } from "./detail.js";
import { avatar, h, icon } from "./element.js";
import { openFaults, showFaults } from "./fault.js";
import { Store, TYPES, watch } from "./store.js";
import { label, time, toggleLanguage, w } from "./words.js";

// Messages in the document at first, and more with each scroll to the top.
const PAGE = 100;
// Conversations in the document; the others are found by searching.
const MOST_CONVERSATIONS = 200;
// Messages of a full event: more follow.
const BATCH = 200;

const $ = (id) => document.getElementById(id);
const store = new Store();
const view = { key: null, type: null, search: "", first: 0, selected: null, fresh: 0, follow: true, touched: -1000, behind: false, catchingUp: true };
let faults = [];
let live = false;
let drawing = false;

// ---- what is drawn

function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    drawConversations();
    drawHead();
    drawMessages();
  });
}

function drawHead() {
  const conversation = store.conversations.get(view.key);
  $("title").replaceChildren(conversation ? h("bdi", {}, conversation.id) : w("all"));
  $("subtitle").textContent = conversation
    ? `${w(`${conversation.kind}One`)} · ${w("total", conversation.messages.length)}`
    : w("total", store.kept.toLocaleString());
  $("live").classList.toggle("off", !live);
  $("live-text").textContent = w(live ? "live" : "offline");
  $("fault-count").hidden = !faults.length;
  $("fault-count").textContent = faults.length;
}

function drawTypes() {
  const chip = (type) => h("button", { "aria-pressed": String(view.type === type), onclick: () => choose({ type }) }, w(type ?? "types"));
  $("types").replaceChildren(...[null, ...TYPES].map(chip));
}

function drawConversations() {
  const groups = ["user", "group", "room"].map((kind) => [kind, []]);
  const byKind = new Map(groups);
  const fits = (conversation) => !view.search || conversation.id.toLowerCase().includes(view.search)
    || conversation.messages.some((message) => store.matches(message, null, null, view.search));
  for (const conversation of store.conversations.values()) {
    if (fits(conversation)) byKind.get(conversation.kind).push(conversation);
  }
  const newest = (conversation) => conversation.messages.at(-1).sequence;
  const nodes = new Map([["", conversationRow(null)]]);
  for (const [kind, conversations] of groups) {
    if (!conversations.length) continue;
    conversations.sort((a, b) => newest(b) - newest(a));
    nodes.set(`${kind} head`, fill(`${kind} head`, "h3", w(kind), h("span", {}, conversations.length)));
    for (const conversation of conversations.slice(0, MOST_CONVERSATIONS)) nodes.set(conversation.key, conversationRow(conversation));
    const hidden = conversations.length - MOST_CONVERSATIONS;
    if (hidden > 0) nodes.set(`${kind} more`, fill(`${kind} more`, "p", w("more", hidden)));
  }
  arrange($("conversations"), nodes);
}

// Rows of the conversations, by key. They stay while their words change: a click needs the row that it began on.
const rows = new Map();

function fill(key, tag, ...children) {
  if (!rows.has(key)) rows.set(key, h(tag, { class: { button: "conversation", p: "more" }[tag], "data-key": key }));
  const row = rows.get(key);
  row.replaceChildren(...children.filter(Boolean));
  return row;
}

// Moves only what stands elsewhere, and drops what is no more.
function arrange(parent, nodes) {
  for (const [key, row] of rows) {
    if (nodes.has(key)) continue;
    row.remove();
    rows.delete(key);
  }
  let at = parent.firstElementChild;
  for (const node of nodes.values()) {
    if (node === at) at = at.nextElementSibling;
    else {
      const focused = document.activeElement === node;
      parent.insertBefore(node, at);
      if (focused) node.focus({ preventScroll: true });
    }
  }
}

function conversationRow(conversation) {
  const key = conversation?.key ?? null;
  const messages = conversation?.messages ?? store.messages;
  const last = messages.at(-1);
  const chosen = view.key === key;
  if (chosen && conversation) conversation.unread = 0;
  const row = fill(key ?? "", "button",
    conversation ? avatar(conversation.id, conversation.kind) : h("span", { class: "avatar all" }, icon("inbox")),
    h("span", { class: "name" }, conversation ? h("bdi", {}, conversation.id) : w("all")),
    h("time", {}, last ? time(last.received) : ""),
    h("span", { class: "preview" }, last ? h("bdi", {}, preview(last).slice(0, 120)) : ""),
    conversation?.unread ? h("b", { class: "unread" }, conversation.unread > 99 ? "99+" : conversation.unread) : null);
  row.onclick = () => choose({ key }, true);
  if (chosen) row.setAttribute("aria-current", "true");
  else row.removeAttribute("aria-current");
  return row;
}

// Draws the list anew, and shows its end.
function drawMessages() {
  const list = store.list(view.key, view.type, view.search);
  const shown = list.slice(-PAGE);
  view.first = shown[0]?.sequence ?? 0;
  const nodes = shown.map(messageRow);
  if (!list.length) nodes.push(empty());
  $("list").replaceChildren(older(shown.length < list.length), ...nodes);
  drawFresh();
  toEnd();
}

function empty() {
  const found = store.messages.length > 0;
  const command = "easemob-gateway send text --to bob \"你好\"";
  return h("div", { class: "empty" }, icon("inbox"), h("h2", {}, w(found ? "nothingFound" : "empty")),
    h("p", {}, w(found ? "nothingFoundText" : "emptyText")), found ? null : h("code", {}, command));
}

// The first element of the list: more of what the page has, or of what the sandbox has.
function older(here) {
  const more = here || store.canHaveMore();
  const button = h("button", { class: "older", hidden: !more, onclick: showOlder }, w("older"));
  reached.disconnect();
  if (more) reached.observe(button);
  return button;
}

// Puts older messages above those that are shown, which stay where they are.
async function showOlder() {
  let { list, end } = above();
  if (end === 0 && store.canHaveMore()) {
    await store.loadOlder();
    ({ list, end } = above());
  }
  const shown = list.slice(Math.max(0, end - PAGE), end);
  if (shown.length) view.first = shown[0].sequence;
  const height = $("messages").scrollHeight;
  view.follow = false;
  $("list").firstElementChild.replaceWith(older(shown.length < end), ...shown.map(messageRow));
  $("messages").scrollTop += $("messages").scrollHeight - height;
}

// The list, and how much of it is above what is shown.
function above() {
  const list = store.list(view.key, view.type, view.search);
  const end = list.findIndex((message) => message.sequence >= view.first);
  return { list, end: end < 0 ? list.length : end };
}

const reached = new IntersectionObserver((entries) => {
  if (entries.some((entry) => entry.isIntersecting) && $("messages").scrollTop > 0) showOlder();
}, { root: $("messages"), rootMargin: "200px" });

function messageRow(message) {
  const members = message.members.length ? h("span", { class: "only" }, w("members", message.members.join(", "))) : null;
  const to = view.key ? null : h("span", { class: "to" }, "→ ", h("bdi", {}, message.to.slice(0, 3).join(", ")), message.to.length > 3 ? ` +${message.to.length - 3}` : "");
  const open = () => select(row, message);
  const row = h("article", { class: "message", tabindex: "0", "data-sequence": message.sequence, "data-type": message.type },
    avatar(message.from, "user"),
    h("div", { class: "body" },
      h("div", { class: "meta" }, h("strong", {}, h("bdi", {}, message.from)), to, members,
        h("span", { class: "type" }, w(message.type)), h("time", { title: message.received }, time(message.received)),
        h("button", { class: "icon mini more", title: w("details"), "aria-label": w("details"), onclick: open }, icon("info"))),
      content(message)));
  row.addEventListener("keydown", (event) => event.key === "Enter" && event.target === row && open());
  return row;
}

// ---- what happens

function atEnd() {
  const { scrollHeight, scrollTop, clientHeight } = $("messages");
  return scrollHeight - scrollTop - clientHeight < 80;
}

function toEnd() {
  view.follow = true;
  $("messages").scrollTop = $("messages").scrollHeight;
}

// Adds to the end of the list what belongs to it.
function append(messages) {
  const mine = messages.filter((message) => store.matches(message, view.key, view.type, view.search));
  if (!mine.length) return;
  // Who reads further up is left in peace, and told.
  view.fresh += mine.length;
  if (view.follow) showNewer(mine);
  drawFresh();
}

function drawFresh() {
  $("fresh").hidden = view.fresh === 0;
  $("fresh").textContent = `↓ ${w("newMessages", view.fresh)}`;
}

// Puts these below those that are shown; those that went out of sight above make room.
function showNewer(messages) {
  const list = $("list");
  list.querySelector(".empty")?.remove();
  list.append(...messages.map(messageRow));
  view.fresh -= messages.length;
  if (view.fresh > 0) return;
  while (list.childElementCount > 2 * PAGE + 1) list.children[1].remove();
  const first = Number(list.children[1].dataset.sequence);
  if (first > view.first) {
    view.first = first;
    list.firstElementChild.replaceWith(older(true));
  }
  toEnd();
}

// The next of those that came while somebody read further up.
function catchUp() {
  const last = Number($("list").lastElementChild.dataset.sequence);
  const list = store.list(view.key, view.type, view.search);
  const from = list.findIndex((message) => message.sequence > last);
  if (from < 0) return;
  view.fresh = list.length - from;
  showNewer(list.slice(from, from + PAGE));
  drawFresh();
}

function choose(change, enter) {
  Object.assign(view, change);
  document.body.classList.toggle("reading", enter ?? document.body.classList.contains("reading"));
  closeDetail();
  drawTypes();
  draw();
}

function select(row, message) {
  document.querySelector(".message.selected")?.classList.remove("selected");
  row.classList.add("selected");
  view.selected = row;
  $("main").classList.add("with-detail");
  detail($("detail"), message, closeDetail);
}

function closeDetail() {
  if ($("detail").hidden) return;
  $("detail").hidden = true;
  $("main").classList.remove("with-detail");
  view.selected?.classList.remove("selected");
  view.selected?.focus({ preventScroll: true });
}

// Once the flood is over that this page could not keep up with.
async function reload() {
  const { messages } = await (await fetch("/sandbox/messages?limit=1000")).json();
  const { kept } = store;
  store.clear();
  store.kept = kept;
  messages.forEach((message) => store.add(message));
  draw();
}

watch({
  onlive(now) {
    live = now;
    drawHead();
  },
  onreset() {
    store.clear();
    view.catchingUp = true;
    closeDetail();
    draw();
  },
  onmessages({ messages, skipped, kept }) {
    store.kept = kept;
    view.behind ||= skipped > 0;
    for (const message of messages) store.add(message, !view.catchingUp);
    // What was there before is not news.
    view.catchingUp &&= messages.length === BATCH;
    if (view.behind && !skipped) {
      view.behind = false;
      reload();
      return;
    }
    append(messages);
    drawConversations();
    drawHead();
  },
  onfaults(now) {
    faults = now;
    drawHead();
    showFaults($("fault-dialog"), faults);
  },
});

// ---- keys and buttons

function words() {
  label(document);
  for (const element of document.querySelectorAll("[data-icon]")) element.replaceChildren(icon(element.dataset.icon));
  $("language").textContent = w("language");
  drawTypes();
  draw();
}

function theme(chosen) {
  if (chosen) document.documentElement.dataset.theme = chosen;
}

$("search").addEventListener("input", (event) => choose({ search: event.target.value.trim().toLowerCase() }));
$("back").addEventListener("click", () => choose({}, false));
$("fresh").addEventListener("click", drawMessages);
// Pictures that come in and rows that find their height push the end away: who was at the end stays there.
new ResizeObserver(() => view.follow && toEnd()).observe($("list"));
// Only who scrolls leaves the end: rows that come and go move it too.
for (const input of ["wheel", "touchmove", "pointerdown", "keydown"]) {
  $("messages").addEventListener(input, () => (view.touched = performance.now()), { passive: true });
}
$("messages").addEventListener("scroll", () => {
  if (atEnd()) {
    if (view.fresh) catchUp();
    else view.follow = true;
  } else if (performance.now() - view.touched < 1000) view.follow = false;
}, { passive: true });
$("faults").addEventListener("click", () => openFaults($("fault-dialog"), faults));
$("clear").addEventListener("click", () => {
  $("clear-dialog").returnValue = "";
  $("clear-dialog").showModal();
});
$("clear-dialog").addEventListener("close", () => {
  if ($("clear-dialog").returnValue === "yes") fetch("/sandbox/messages", { method: "DELETE" });
});
$("language").addEventListener("click", () => {
  toggleLanguage();
  closeDetail();
  words();
});
$("theme").addEventListener("click", () => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const now = document.documentElement.dataset.theme ?? dark;
  localStorage.setItem("theme", now === "dark" ? "light" : "dark");
  theme(localStorage.getItem("theme"));
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) closeDetail();
  if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open]")) return;
  if (event.key === "/") {
    event.preventDefault();
    $("search").focus();
  } else if (event.key === "f") $("faults").click();
  else if (event.key === "ArrowDown" || event.key === "ArrowUp") step(event);
});

// Up and down go through the list that has the focus.
function step(event) {
  const selector = event.target.closest("#conversations") ? ".conversation" : ".message";
  const from = event.target.closest(selector);
  if (!from) return;
  const all = [...document.querySelectorAll(selector)];
  all[all.indexOf(from) + (event.key === "ArrowDown" ? 1 : -1)]?.focus();
  event.preventDefault();
}

theme(localStorage.getItem("theme"));
words();
