// Uploads and downloads, chunk by chunk.

import { createHash } from "node:crypto";
import { once } from "node:events";
import type { ClientWritableStream, ServiceError } from "@grpc/grpc-js";
import type { FileRef } from "../gen/easemob/messaging/v1/message.js";
import {
  DownloadFileRequest,
  type DownloadFileResponse,
  type MessagingServiceClient,
  SendMediaMessageRequest,
  type SendMediaMessageResponse,
  UploadFileRequest,
  type UploadFileResponse,
} from "../gen/easemob/messaging/v1/messaging_service.js";

export const CHUNK = 64 * 1024;
export const CONTENT = Buffer.alloc(256 * 4096, Uint8Array.from({ length: 256 }, (_, byte) => byte));
export const SHA256 = createHash("sha256").update(CONTENT).digest();

export function* chunks(content = CONTENT): Generator<Buffer> {
  for (let start = 0; start < content.length; start += CHUNK) {
    yield content.subarray(start, start + CHUNK);
  }
}

/** The callback of a call, as a promise. */
export function answered<Call, Answer>(
  start: (done: (error: ServiceError | null, answer: Answer) => void) => Call,
): { call: Call; answer: Promise<Answer> } {
  let call!: Call;
  const answer = new Promise<Answer>((resolve, reject) => {
    call = start((error, answer) => (error ? reject(error) : resolve(answer)));
  });
  return { call, answer };
}

/** Writes part by part, waiting while there is no room, until all are written or the gateway has answered. */
export async function write<Part>(
  call: ClientWritableStream<Part>,
  answer: Promise<unknown>,
  parts: Iterable<Part>,
): Promise<void> {
  let over = false;
  const end = answer.then(
    () => (over = true),
    () => (over = true),
  );
  for (const part of parts) {
    if (over) return;
    if (!call.write(part)) await Promise.race([once(call, "drain"), end]);
  }
  if (!over) call.end();
}

export function* uploadParts(progress: (percent: number) => void, sha256 = SHA256): Generator<UploadFileRequest> {
  yield UploadFileRequest.fromPartial({ header: { filename: "cat.bin", upload: { sizeBytes: CONTENT.length } } });
  let sent = 0;
  for (const chunk of chunks()) {
    yield UploadFileRequest.fromPartial({ chunk });
    sent += chunk.length;
    progress((sent * 100) / CONTENT.length);
  }
  yield UploadFileRequest.fromPartial({ finish: { sizeBytes: CONTENT.length, sha256 } });
}

export async function upload(
  client: MessagingServiceClient,
  parts: Iterable<UploadFileRequest>,
): Promise<UploadFileResponse> {
  const { call, answer } = answered<ClientWritableStream<UploadFileRequest>, UploadFileResponse>((done) =>
    client.uploadFile(done),
  );
  await write(call, answer, parts);
  return answer;
}

/** The parts of a message that carries the file. */
export function* mediaParts(user: string): Generator<SendMediaMessageRequest> {
  const message = { users: { userIds: [user] }, file: { filename: "cat.bin" } };
  yield SendMediaMessageRequest.fromPartial({ header: { message } });
  for (const chunk of chunks()) {
    yield SendMediaMessageRequest.fromPartial({ chunk });
  }
  yield SendMediaMessageRequest.fromPartial({ finish: { sizeBytes: CONTENT.length, sha256: SHA256 } });
}

export async function sendMedia(client: MessagingServiceClient, user: string): Promise<SendMediaMessageResponse> {
  const { call, answer } = answered<ClientWritableStream<SendMediaMessageRequest>, SendMediaMessageResponse>((done) =>
    client.sendMediaMessage(done),
  );
  await write(call, answer, mediaParts(user));
  return answer;
}

/** Size and SHA-256 of what comes back. */
export async function download(client: MessagingServiceClient, file: FileRef): Promise<{ size: number; sha256: Buffer }> {
  const hash = createHash("sha256");
  let size = 0;
  const parts: AsyncIterable<DownloadFileResponse> = client.downloadFile(DownloadFileRequest.fromPartial({ file }));
  for await (const { chunk } of parts) {
    if (chunk) {
      size += chunk.length;
      hash.update(chunk);
    }
  }
  return { size, sha256: hash.digest() };
}
