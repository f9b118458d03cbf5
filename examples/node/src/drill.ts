// What the tests try besides: uploads that are refused or given up, and sends while the gateway restarts.

import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { type ClientWritableStream, type ServiceError, status as Code } from "@grpc/grpc-js";
import {
  type MessagingServiceClient,
  type SendMediaMessageRequest,
  type SendMediaMessageResponse,
  SendMessageRequest,
  type SendMessageResponse,
  UploadFileRequest,
} from "../gen/easemob/messaging/v1/messaging_service.js";
import { answered, chunks, mediaParts, upload } from "./files.js";
import { waiting } from "./gateway.js";
import { Problem } from "./problem.js";

const TEN_MB = 10 * 1024 * 1024;

function* tooLarge(): Generator<UploadFileRequest> {
  yield UploadFileRequest.fromPartial({ header: { filename: "large.bin", upload: { sizeBytes: TEN_MB + 1 } } });
  for (const chunk of chunks(Buffer.alloc(TEN_MB))) {
    yield UploadFileRequest.fromPartial({ chunk });
  }
  yield UploadFileRequest.fromPartial({ finish: {} });
}

/** Uploads a file that is too large, and counts what it is told. */
async function refused(client: MessagingServiceClient, times: number): Promise<void> {
  const told = new Map<string, number>();
  for (let i = 0; i < times; i++) {
    try {
      await upload(client, tooLarge());
    } catch (error) {
      const problem = String(Problem.of(error as ServiceError));
      told.set(problem, (told.get(problem) ?? 0) + 1);
    }
  }
  for (const [problem, count] of [...told].sort()) console.log(`${count} × ${problem}`);
}

/** Gives up in the middle of a file. */
async function cancelled(client: MessagingServiceClient, user: string): Promise<void> {
  const { call, answer } = answered<ClientWritableStream<SendMediaMessageRequest>, SendMediaMessageResponse>((done) =>
    client.sendMediaMessage(done),
  );
  for (const part of [...mediaParts(user)].slice(0, 8)) {
    if (!call.write(part)) await once(call, "drain");
  }
  call.cancel();
  await answer.catch((error: ServiceError) => console.log(Code[error.code]));
}

/** Sends for so long, and prints what became of each message. */
async function steady(client: MessagingServiceClient, user: string, seconds: number): Promise<void> {
  const end = Date.now() + seconds * 1000;
  const worker = async () => {
    while (Date.now() < end) {
      const nonce = randomUUID();
      const message = { users: { userIds: [user] }, text: { text: nonce } };
      const request = SendMessageRequest.fromPartial({ message, requestId: nonce });
      try {
        await answered<unknown, SendMessageResponse>((done) => client.sendMessage(request, waiting(), done)).answer;
        console.log(`ok ${nonce}`);
      } catch (error) {
        console.log(`failed ${nonce} ${Problem.of(error as ServiceError)}`);
      }
    }
  };
  await Promise.all([worker(), worker(), worker(), worker()]);
}

export async function drill(client: MessagingServiceClient, name: string, rest: string[]): Promise<void> {
  const [first = "", second = ""] = rest;
  if (name === "refused") await refused(client, Number(first));
  else if (name === "cancelled") await cancelled(client, first);
  else if (name === "steady") await steady(client, first, Number(second));
  else throw new Error(`no drill is called ${name}`);
}
