package com.example.easemob;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.BadRequest;
import com.google.rpc.Code;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RetryInfo;
import com.google.rpc.Status;
import easemob.messaging.v1.UploadedMedia;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.List;

/** What an error says, from its typed details. Without word of the gateway, nobody knows what was sent. */
record Problem(
    String code, String reason, String sendState, List<String> fields, Duration retryAfter, UploadedMedia uploaded) {

  /** Of an error that a call has thrown. */
  static Problem of(Exception error) {
    Status status = StatusProto.fromThrowable(error);
    return of(status == null ? Status.newBuilder().setCode(Code.UNKNOWN_VALUE).build() : status);
  }

  /** Of a status: that of an error, or one in a SendFailure. */
  static Problem of(Status status) {
    String reason = "no ErrorInfo";
    String sendState = "MAYBE_SENT";
    List<String> fields = List.of();
    Duration retryAfter = null;
    UploadedMedia uploaded = null;
    try {
      for (Any detail : status.getDetailsList()) {
        if (detail.is(ErrorInfo.class)) {
          ErrorInfo info = detail.unpack(ErrorInfo.class);
          reason = info.getReason();
          sendState = info.getMetadataOrDefault("send_state", "");
        } else if (detail.is(BadRequest.class)) {
          fields =
              detail.unpack(BadRequest.class).getFieldViolationsList().stream()
                  .map(BadRequest.FieldViolation::getField)
                  .sorted()
                  .toList();
        } else if (detail.is(RetryInfo.class)) {
          var wait = detail.unpack(RetryInfo.class).getRetryDelay();
          retryAfter = Duration.ofSeconds(wait.getSeconds(), wait.getNanos());
        } else if (detail.is(UploadedMedia.class)) {
          uploaded = detail.unpack(UploadedMedia.class);
        }
      }
    } catch (InvalidProtocolBufferException garbled) {
      throw new IllegalArgumentException("details that are none", garbled);
    }
    String code = io.grpc.Status.fromCodeValue(status.getCode()).getCode().name();
    return new Problem(code, reason, sendState, fields, retryAfter, uploaded);
  }

  @Override
  public String toString() {
    String text = (code + " " + reason + " " + sendState).strip();
    if (!fields.isEmpty()) {
      text += ", fields " + String.join(", ", fields);
    }
    if (retryAfter != null) {
      text += ", tells when to try again";
    }
    if (uploaded != null) {
      text += ", uploaded " + uploaded.getFile().getSizeBytes() + " bytes";
    }
    return text;
  }
}
