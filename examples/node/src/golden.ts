// All that the API can do, once: what it prints is the same in every language.

import { randomUUID } from "node:crypto";
import type { ServiceError } from "@grpc/grpc-js";
import type { DeepPartial, FileRef, Message } from "../gen/easemob/messaging/v1/message.js";
import {
  type MessagingServiceClient,
  SendMessageRequest,
  type SendMessageResponse,
  SendMessagesRequest,
  type SendMessagesResponse,
} from "../gen/easemob/messaging/v1/messaging_service.js";
import { drill } from "./drill.js";
import { answered, CONTENT, download, sendMedia, upload, uploadParts } from "./files.js";
import { connect, waiting } from "./gateway.js";
import { Problem } from "./problem.js";

const say = (what: string, outcome: unknown): void => console.log(`${what}: ${outcome}`);

/** One with an ID, so that it may be repeated: by the service config, too. */
function request(message: DeepPartial<Message>): SendMessageRequest {
  return SendMessageRequest.fromPartial({ message: { fromUserId: "amy", ...message }, requestId: randomUUID() });
}

export function text(words: string, ...userIds: string[]): SendMessageRequest {
  return request({ users: { userIds }, text: { text: words } });
}

export function send(
  client: MessagingServiceClient,
  request: SendMessageRequest,
  seconds?: number,
): Promise<SendMessageResponse> {
  // Left out, it is that of the service config.
  const options = seconds === undefined ? {} : { deadline: Date.now() + seconds * 1000 };
  return answered<unknown, SendMessageResponse>((done) =>
    client.sendMessage(request, waiting(), options, done),
  ).answer;
}

/** Both lists: with several recipients, OK does not mean all. */
function told(answer: SendMessageResponse | undefined): string {
  const { accepted, failures } = answer!;
  const recipients = accepted.map((one) => one.recipient).sort();
  return [
    `accepted for ${recipients.join(", ")}`,
    ...failures.map((one) => `${one.recipients.join(", ")} ${Problem.ofStatus(one.status!)}`),
  ].join("; ");
}

async function fails(what: string, call: Promise<unknown>): Promise<Problem> {
  try {
    await call;
  } catch (error) {
    const problem = Problem.of(error as ServiceError);
    say(what, problem);
    return problem;
  }
  throw new Error(`${what}: no error`);
}

async function files(client: MessagingServiceClient): Promise<FileRef> {
  const progress = (percent: number) => {
    if (percent % 25 === 0) say("upload", `${percent} %`);
  };
  const { file } = await upload(client, uploadParts(progress));
  say("uploaded", `${file!.sizeBytes} bytes, sha256 ${Buffer.from(file!.sha256).toString("hex")}`);
  const { size, sha256 } = await download(client, file!.ref!);
  say("downloaded", `${size} bytes, sha256 ${sha256.toString("hex")}`);
  return file!.ref!;
}

async function messages(client: MessagingServiceClient, file: FileRef): Promise<void> {
  const kinds: Record<string, DeepPartial<Message>> = {
    text: { text: { text: "你好" } },
    image: { image: { file, filename: "cat.png", width: 640, height: 480 } },
    audio: { audio: { file, filename: "cat.mp3", durationSeconds: 3 } },
    video: { video: { file, filename: "cat.mp4", durationSeconds: 3, sizeBytes: CONTENT.length } },
    file: { file: { file, filename: "cat.pdf" } },
    location: { location: { latitude: 39.966, longitude: 116.322, address: "Zhongguancun" } },
    command: { command: { action: "refresh" } },
    custom: { custom: { event: "order", attributes: { number: "A-7" } } },
  };
  for (const [kind, content] of Object.entries(kinds)) {
    say(kind, told(await send(client, request({ users: { userIds: ["bob"] }, ...content }))));
  }
  const hello = { text: { text: "hello" } };
  say("groups", told(await send(client, request({ groups: { groupIds: ["1001", "1002"] }, ...hello }))));
  say("chat rooms", told(await send(client, request({ chatrooms: { chatroomIds: ["77"] }, ...hello }))));
  const users = Array.from({ length: 1000 }, (_, number) => `user${String(number).padStart(4, "0")}`);
  const { accepted, failures } = await send(client, text("hello", ...users));
  say("1000 users", `${accepted.length} accepted, ${failures.length} failures`);
}

/** Answers come as they finish; the correlation ID tells whose they are. */
async function stream(client: MessagingServiceClient): Promise<void> {
  const call = client.sendMessages({ deadline: Date.now() + 15_000 });
  const asked = { a: text("first", "bob"), b: text("", "bob"), c: text("third", "carol") };
  for (const [correlationId, request] of Object.entries(asked)) {
    call.write(SendMessagesRequest.fromPartial({ correlationId, request }));
  }
  call.end();
  const answers: string[] = [];
  for await (const { correlationId, response, failure } of call as AsyncIterable<SendMessagesResponse>) {
    const outcome = response ? told(response) : Problem.ofStatus(failure!.status!);
    answers.push(`stream ${correlationId}: ${outcome}`);
  }
  console.log(answers.sort().join("\n"));
}

async function repeats(client: MessagingServiceClient): Promise<void> {
  const once = text("once", "bob");
  const first = await send(client, once);
  const again = await send(client, once);
  say("first", `${told(first)}, replayed ${first.replayed}`);
  const same = first.accepted[0]?.messageId === again.accepted[0]?.messageId;
  say("repeat", `${told(again)}, replayed ${again.replayed}, same ID ${same}`);
}

async function deadline(client: MessagingServiceClient): Promise<void> {
  try {
    await send(client, text("hello", "fault-silence"), 2);
  } catch (error) {
    // The gateway's verdict, or this client's own timer, which knows less: the same to us.
    say("deadline", Problem.of(error as ServiceError).sendState);
  }
}

async function errors(client: MessagingServiceClient): Promise<void> {
  await fails("wrong fields", send(client, text("", "bob", "")));
  await fails("quota", send(client, text("hello", "fault-429"), 2.5));
  await fails("in doubt", send(client, text("hello", "fault-reset")));
  await fails("checksum", upload(client, uploadParts(() => {}, Buffer.alloc(32))));
  const { uploaded } = await fails("refused after the upload", sendMedia(client, "fault-403"));
  const content = { users: { userIds: ["bob"] }, file: { file: uploaded?.file?.ref, filename: "cat.bin" } };
  say("the same file to another", told(await send(client, request(content))));
  const stranger = connect("egk_nobodys");
  await fails("unknown key", send(stranger, text("hello", "bob")));
  stranger.close();
}

const client = connect();
const [name = "golden", ...rest] = process.argv.slice(2);
if (name === "golden") {
  await messages(client, await files(client));
  say("media message", told((await sendMedia(client, "bob")).sent));
  await stream(client);
  await repeats(client);
  await deadline(client);
  await errors(client);
} else {
  await drill(client, name, rest);
}
client.close();
