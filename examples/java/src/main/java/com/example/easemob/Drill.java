package com.example.easemob;

import com.google.protobuf.ByteString;
import easemob.messaging.v1.MessagingServiceGrpc.MessagingServiceBlockingV2Stub;
import easemob.messaging.v1.SendMediaMessageRequest;
import easemob.messaging.v1.UploadFileHeader;
import easemob.messaging.v1.UploadFileRequest;
import easemob.messaging.v1.UploadOptions;
import io.grpc.StatusException;
import java.io.PrintStream;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

/** What the tests try besides: uploads that are refused or given up, and sends while the gateway restarts. */
final class Drill {
  private static final int TEN_MB = 10 * 1024 * 1024;

  private final MessagingServiceBlockingV2Stub stub;
  private final PrintStream out;

  Drill(MessagingServiceBlockingV2Stub stub, PrintStream out) {
    this.stub = stub;
    this.out = out;
  }

  void run(String[] arguments) throws Exception {
    switch (arguments[0]) {
      case "refused" -> refused(Integer.parseInt(arguments[1]));
      case "cancelled" -> cancelled(arguments[1]);
      case "steady" -> steady(arguments[1], Integer.parseInt(arguments[2]));
      default -> throw new IllegalArgumentException("no drill is called " + arguments[0]);
    }
  }

  /** Uploads a file that is too large, and counts what it is told. */
  private void refused(int times) throws InterruptedException {
    Map<String, Integer> told = new TreeMap<>();
    for (int i = 0; i < times; i++) {
      try {
        uploadTooLarge();
      } catch (StatusException error) {
        told.merge(Problem.of(error).toString(), 1, Integer::sum);
      }
    }
    told.forEach((problem, count) -> out.println(count + " × " + problem));
  }

  private void uploadTooLarge() throws StatusException, InterruptedException {
    var call = stub.uploadFile();
    var options = UploadOptions.newBuilder().setSizeBytes(TEN_MB + 1);
    var header = UploadFileHeader.newBuilder().setFilename("large.bin").setUpload(options);
    boolean taken = Transfer.put(call, UploadFileRequest.newBuilder().setHeader(header).build());
    var chunk = UploadFileRequest.newBuilder().setChunk(ByteString.copyFrom(new byte[Transfer.CHUNK])).build();
    for (int sent = 0; taken && sent < TEN_MB; sent += Transfer.CHUNK) {
      taken = Transfer.put(call, chunk);
    }
    Transfer.end(call);
  }

  /** Gives up in the middle of a file. */
  private void cancelled(String user) throws Exception {
    var call = stub.sendMediaMessage();
    for (SendMediaMessageRequest part : Transfer.mediaParts(user).subList(0, 8)) {
      call.write(part);
    }
    call.cancel("given up", null);
    try {
      call.read();
    } catch (StatusException error) {
      out.println(Problem.of(error).code());
    }
  }

  /** Sends for so long, and prints what became of each message. */
  private void steady(String user, int seconds) throws InterruptedException {
    long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
    ExecutorService workers = Executors.newFixedThreadPool(4);
    for (int i = 0; i < 4; i++) {
      workers.execute(() -> sendUntil(end, user));
    }
    workers.shutdown();
    workers.awaitTermination(1, TimeUnit.HOURS);
  }

  private void sendUntil(long end, String user) {
    while (System.nanoTime() < end) {
      var request = Golden.text("", user).toBuilder();
      String nonce = request.getRequestId();
      request.getMessageBuilder().getTextBuilder().setText(nonce);
      try {
        stub.sendMessage(request.build());
        out.println("ok " + nonce);
      } catch (StatusException error) {
        out.println("failed " + nonce + " " + Problem.of(error));
      }
    }
  }
}
