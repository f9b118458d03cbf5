// What an error says, from its typed details.

import { type ServiceError, status as Code } from "@grpc/grpc-js";
import { UploadedMedia } from "../gen/easemob/messaging/v1/messaging_service.js";
import { BadRequest, ErrorInfo, RetryInfo } from "../gen/google/rpc/error_details.js";
import { Status } from "../gen/google/rpc/status.js";

export class Problem {
  reason = "no ErrorInfo";
  // Without word of the gateway, nobody knows: a proxy or a timer may have made the error.
  sendState = "MAYBE_SENT";
  fields: string[] = [];
  retryAfterSeconds?: number;
  uploaded?: UploadedMedia;

  private constructor(readonly code: string) {}

  /** Of an error that a call has ended with. */
  static of(error: ServiceError): Problem {
    const [details] = error.metadata?.get("grpc-status-details-bin") ?? [];
    return Problem.ofStatus(
      details instanceof Buffer ? Status.decode(details) : Status.fromPartial({ code: error.code }),
    );
  }

  /** Of a status: that of an error, or one in a SendFailure. */
  static ofStatus(status: Status): Problem {
    const problem = new Problem(Code[status.code] ?? "UNKNOWN");
    for (const { typeUrl, value } of status.details) {
      problem.read(typeUrl.slice(typeUrl.indexOf("/") + 1), value);
    }
    return problem;
  }

  private read(type: string, value: Uint8Array): void {
    switch (type) {
      case "google.rpc.ErrorInfo": {
        const info = ErrorInfo.decode(value);
        this.reason = info.reason;
        this.sendState = info.metadata.send_state ?? "";
        break;
      }
      case "google.rpc.BadRequest":
        this.fields = BadRequest.decode(value)
          .fieldViolations.map((violation) => violation.field)
          .sort();
        break;
      case "google.rpc.RetryInfo": {
        const wait = RetryInfo.decode(value).retryDelay;
        this.retryAfterSeconds = wait && wait.seconds + wait.nanos / 1e9;
        break;
      }
      case "easemob.messaging.v1.UploadedMedia":
        this.uploaded = UploadedMedia.decode(value);
    }
  }

  toString(): string {
    let text = `${this.code} ${this.reason} ${this.sendState}`.trim();
    if (this.fields.length > 0) text += `, fields ${this.fields.join(", ")}`;
    if (this.retryAfterSeconds !== undefined) text += ", tells when to try again";
    if (this.uploaded) text += `, uploaded ${this.uploaded.file?.sizeBytes} bytes`;
    return text;
  }
}
