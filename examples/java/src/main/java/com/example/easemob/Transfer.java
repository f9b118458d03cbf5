package com.example.easemob;

import com.google.protobuf.ByteString;
import easemob.messaging.v1.DownloadFileRequest;
import easemob.messaging.v1.DownloadFileResponse;
import easemob.messaging.v1.FileContent;
import easemob.messaging.v1.FileRef;
import easemob.messaging.v1.MediaHeader;
import easemob.messaging.v1.Message;
import easemob.messaging.v1.MessagingServiceGrpc.MessagingServiceBlockingV2Stub;
import easemob.messaging.v1.SendMediaMessageRequest;
import easemob.messaging.v1.SendMessageResponse;
import easemob.messaging.v1.UploadFileHeader;
import easemob.messaging.v1.UploadFileRequest;
import easemob.messaging.v1.UploadFinish;
import easemob.messaging.v1.UploadOptions;
import easemob.messaging.v1.UploadedFile;
import easemob.messaging.v1.Users;
import io.grpc.StatusException;
import io.grpc.stub.BlockingClientCall;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntConsumer;

/** Uploads and downloads, chunk by chunk. */
final class Transfer {
  static final int CHUNK = 64 * 1024;
  static final ByteString CONTENT = content();
  static final ByteString SHA256 = ByteString.copyFrom(sha256().digest(CONTENT.toByteArray()));

  private Transfer() {}

  private static ByteString content() {
    byte[] bytes = new byte[256 * 4096];
    for (int i = 0; i < bytes.length; i++) {
      bytes[i] = (byte) i;
    }
    return ByteString.copyFrom(bytes);
  }

  static MessageDigest sha256() {
    try {
      return MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException missing) {
      throw new IllegalStateException("every Java has it", missing);
    }
  }

  static List<ByteString> chunks() {
    List<ByteString> chunks = new ArrayList<>();
    for (int start = 0; start < CONTENT.size(); start += CHUNK) {
      chunks.add(CONTENT.substring(start, start + CHUNK));
    }
    return chunks;
  }

  private static UploadFinish finish(ByteString sum) {
    return UploadFinish.newBuilder().setSizeBytes(CONTENT.size()).setSha256(sum).build();
  }

  /** Header, chunks, finish. */
  static UploadedFile upload(MessagingServiceBlockingV2Stub stub, ByteString sum, IntConsumer progress)
      throws StatusException, InterruptedException {
    var call = stub.uploadFile();
    var header =
        UploadFileHeader.newBuilder()
            .setFilename("cat.bin")
            .setUpload(UploadOptions.newBuilder().setSizeBytes(CONTENT.size()));
    put(call, UploadFileRequest.newBuilder().setHeader(header).build());
    int sent = 0;
    for (ByteString chunk : chunks()) {
      put(call, UploadFileRequest.newBuilder().setChunk(chunk).build());
      sent += chunk.size();
      progress.accept((int) (sent * 100L / CONTENT.size()));
    }
    put(call, UploadFileRequest.newBuilder().setFinish(finish(sum)).build());
    return end(call).getFile();
  }

  /** The parts of a message that carries the file. */
  static List<SendMediaMessageRequest> mediaParts(String user) {
    var message =
        Message.newBuilder()
            .setUsers(Users.newBuilder().addUserIds(user))
            .setFile(FileContent.newBuilder().setFilename("cat.bin"));
    List<SendMediaMessageRequest> parts = new ArrayList<>();
    parts.add(
        SendMediaMessageRequest.newBuilder().setHeader(MediaHeader.newBuilder().setMessage(message)).build());
    for (ByteString chunk : chunks()) {
      parts.add(SendMediaMessageRequest.newBuilder().setChunk(chunk).build());
    }
    parts.add(SendMediaMessageRequest.newBuilder().setFinish(finish(SHA256)).build());
    return parts;
  }

  static SendMessageResponse sendMedia(MessagingServiceBlockingV2Stub stub, String user)
      throws StatusException, InterruptedException {
    var call = stub.sendMediaMessage();
    for (SendMediaMessageRequest part : mediaParts(user)) {
      put(call, part);
    }
    return end(call).getSent();
  }

  /** Waits while there is no room. False: the gateway has answered already, and {@link #end} tells what. */
  static <T> boolean put(BlockingClientCall<T, ?> call, T part) throws InterruptedException {
    try {
      return call.write(part);
    } catch (StatusException answered) {
      return false;
    }
  }

  static <T> T end(BlockingClientCall<?, T> call) throws StatusException, InterruptedException {
    call.halfClose();
    return call.read();
  }

  /** Size and SHA-256 of what came back. */
  record Downloaded(int size, ByteString sha256) {}

  static Downloaded download(MessagingServiceBlockingV2Stub stub, FileRef ref)
      throws StatusException, InterruptedException {
    var call = stub.downloadFile(DownloadFileRequest.newBuilder().setFile(ref).build());
    MessageDigest digest = sha256();
    int size = 0;
    while (call.hasNext()) {
      DownloadFileResponse part = call.read();
      size += part.getChunk().size();
      digest.update(part.getChunk().toByteArray());
    }
    return new Downloaded(size, ByteString.copyFrom(digest.digest()));
  }
}
