// What an error says, from its typed details.

import { Code, ConnectError } from "@connectrpc/connect";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  LocalizedMessageSchema,
  RetryInfoSchema,
} from "../gen/google/rpc/error_details_pb.js";

export interface Problem {
  code: string;
  reason: string;
  maybeSent: boolean;
  text: string;
  fields: string[];
  retryAfterSeconds?: number;
  traceId: string;
}

export function problemOf(cause: unknown): Problem {
  const error = ConnectError.from(cause);
  const [info] = error.findDetails(ErrorInfoSchema);
  const [request] = error.findDetails(BadRequestSchema);
  const [retry] = error.findDetails(RetryInfoSchema);
  const [localized] = error.findDetails(LocalizedMessageSchema);
  const wait = retry?.retryDelay;
  return {
    code: Code[error.code],
    reason: info?.reason ?? "no ErrorInfo",
    // Without word of the gateway, nobody knows: a proxy, a timer or a broken connection may have made the error.
    maybeSent: info === undefined || info.metadata.send_state === "MAYBE_SENT",
    text: localized?.message ?? error.rawMessage,
    fields: request?.fieldViolations.map(({ field, description }) => `${field} ${description}`) ?? [],
    retryAfterSeconds: wait && Number(wait.seconds) + wait.nanos / 1e9,
    traceId: error.metadata.get("x-trace-id") ?? "",
  };
}
