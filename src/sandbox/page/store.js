// The messages that the page holds, by conversation; and the stream that brings them.

// Older ones stay with the sandbox.
const MOST = 5000;

const KINDS = {
  "/messages/users": "user",
  "/messages/chatgroups": "group",
  "/messages/chatgroups/users": "group",
  "/messages/chatrooms": "room",
  "/messages/chatrooms/users": "room",
};

export const TYPES = ["txt", "img", "audio", "video", "file", "loc", "cmd", "custom"];

export class Store {
  messages = [];
  conversations = new Map();
  kept = 0;

  // `fresh`: it came while the page was looking.
  add(message, fresh = false) {
    message.kind = KINDS[message.endpoint];
    this.messages.push(message);
    for (const id of new Set(message.to)) {
      const key = `${message.kind}:${id.toLowerCase()}`;
      let conversation = this.conversations.get(key);
      if (!conversation) {
        conversation = { key, kind: message.kind, id, messages: [], unread: 0 };
        this.conversations.set(key, conversation);
      }
      conversation.messages.push(message);
      if (fresh) conversation.unread += 1;
    }
    if (this.messages.length > MOST) this.#forget(this.messages.shift());
  }

  // Whether the sandbox has older messages that the page has room for.
  canHaveMore() {
    return this.kept > this.messages.length && this.messages.length < MOST;
  }

  async loadOlder() {
    const before = this.messages[0]?.sequence ?? 0;
    const limit = Math.min(500, MOST - this.messages.length);
    const answer = await fetch(`/sandbox/messages?before=${before}&limit=${limit}`);
    const { messages } = await answer.json();
    const { kept } = this;
    const unread = new Map([...this.conversations].map(([key, { unread }]) => [key, unread]));
    const all = [...messages, ...this.messages];
    this.clear();
    // A clearing meanwhile, or the sandbox has dropped them: there is nothing more.
    this.kept = messages.length ? kept : all.length;
    all.forEach((message) => this.add(message));
    for (const [key, count] of unread) this.conversations.get(key).unread = count;
  }

  #forget(message) {
    for (const id of new Set(message.to)) {
      const key = `${message.kind}:${id.toLowerCase()}`;
      const conversation = this.conversations.get(key);
      conversation.messages.shift();
      if (!conversation.messages.length) this.conversations.delete(key);
    }
  }

  clear() {
    this.messages = [];
    this.conversations.clear();
    this.kept = 0;
  }

  // Those of one conversation, or all, that fit type and search.
  list(key, type, search) {
    const all = key ? this.conversations.get(key)?.messages ?? [] : this.messages;
    if (!type && !search) return all;
    return all.filter((message) => this.matches(message, key, type, search));
  }

  matches(message, key, type, search) {
    if (key && !message.to.some((id) => `${message.kind}:${id.toLowerCase()}` === key)) return false;
    if (type && message.type !== type) return false;
    return !search || text(message).includes(search);
  }
}

function text(message) {
  message.text ??= [
    message.from,
    ...message.to,
    ...message.members,
    ...Object.values(message.ids),
    message.trace_id,
    ...strings(message.body),
    ...strings(message.ext),
  ].join("\n").toLowerCase();
  return message.text;
}

function strings(value) {
  if (value === null || value === undefined) return [];
  if (typeof value !== "object") return [String(value)];
  return Object.entries(value).flatMap(([name, value]) => [name, ...strings(value)]);
}

// Calls back for each event. The browser reconnects by itself, and says where it was.
export function watch({ onlive, onreset, onmessages, onfaults }) {
  const source = new EventSource("/sandbox/events");
  source.onopen = () => onlive(true);
  source.onerror = () => {
    onlive(false);
    // A refusal ends it for good: begin anew.
    if (source.readyState === EventSource.CLOSED) setTimeout(() => watch({ onlive, onreset, onmessages, onfaults }), 2000);
  };
  source.addEventListener("hello", onreset);
  source.addEventListener("cleared", onreset);
  source.addEventListener("messages", (event) => onmessages(JSON.parse(event.data)));
  source.addEventListener("faults", (event) => onfaults(JSON.parse(event.data)));
}
