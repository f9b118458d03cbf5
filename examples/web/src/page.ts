// Sends what the form says, and shows what became of it.

import { gateway } from "./gateway.js";
import { problemOf } from "./problem.js";

const form = document.querySelector("form")!;
const button = form.querySelector("button")!;
const output = document.querySelector("output")!;

// Names the message, so that a repeat of it sends nothing twice. Kept until the outcome is known.
let requestId = crypto.randomUUID();
form.addEventListener("input", () => {
  requestId = crypto.randomUUID();
});

form.addEventListener("submit", (event) => {
  event.preventDefault();
  void send(new FormData(form));
});

async function send(fields: FormData): Promise<void> {
  const field = (name: string) => String(fields.get(name)).trim();
  button.disabled = true;
  show("busy", ["Sending …"]);
  try {
    const { accepted, failures } = await gateway.sendMessage({
      requestId,
      message: {
        fromUserId: field("from"),
        target: { case: "users", value: { userIds: field("to").split(/[\s,]+/).filter(Boolean) } },
        content: { case: "text", value: { text: field("text") } },
      },
    });
    requestId = crypto.randomUUID();
    show("sent", [
      ...accepted.map(({ recipient, messageId }) => `${recipient}: message ${messageId}`),
      ...failures.map(({ recipients, status }) => `${recipients.join(", ")}: ${status?.message}`),
    ]);
  } catch (error) {
    const { code, reason, maybeSent, text, fields, retryAfterSeconds, traceId } = problemOf(error);
    if (!maybeSent) requestId = crypto.randomUUID();
    show("failed", [
      `${code} · ${reason} · ${maybeSent ? "may have been sent" : "not sent"}`,
      text,
      ...fields,
      ...(maybeSent ? ["Send it once more to learn more: unchanged, it is not sent twice."] : []),
      ...(retryAfterSeconds === undefined ? [] : [`Try again in ${Math.ceil(retryAfterSeconds)} s.`]),
      ...(traceId ? [`Trace ${traceId}`] : []),
    ]);
  } finally {
    button.disabled = false;
  }
}

function show(state: string, lines: string[]): void {
  output.dataset.state = state;
  output.replaceChildren(
    ...lines.map((line) => {
      const paragraph = document.createElement("p");
      paragraph.textContent = line;
      return paragraph;
    }),
  );
}
