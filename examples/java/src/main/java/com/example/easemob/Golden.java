package com.example.easemob;

import static java.util.stream.Collectors.joining;

import com.google.protobuf.ByteString;
import easemob.messaging.v1.Accepted;
import easemob.messaging.v1.AudioContent;
import easemob.messaging.v1.Chatrooms;
import easemob.messaging.v1.CommandContent;
import easemob.messaging.v1.CustomContent;
import easemob.messaging.v1.FileContent;
import easemob.messaging.v1.FileRef;
import easemob.messaging.v1.Groups;
import easemob.messaging.v1.ImageContent;
import easemob.messaging.v1.LocationContent;
import easemob.messaging.v1.Message;
import easemob.messaging.v1.MessagingServiceGrpc;
import easemob.messaging.v1.MessagingServiceGrpc.MessagingServiceBlockingV2Stub;
import easemob.messaging.v1.SendMessageRequest;
import easemob.messaging.v1.SendMessageResponse;
import easemob.messaging.v1.SendMessagesRequest;
import easemob.messaging.v1.SendMessagesResponse;
import easemob.messaging.v1.TextContent;
import easemob.messaging.v1.Users;
import easemob.messaging.v1.VideoContent;
import io.grpc.ManagedChannel;
import io.grpc.StatusException;
import java.nio.charset.StandardCharsets;
import java.io.PrintStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import java.util.stream.Stream;

/** All that the API can do, once: what it prints is the same in every language. */
public final class Golden {
  private static final PrintStream OUT =
      new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);

  private final MessagingServiceBlockingV2Stub stub;

  private Golden(MessagingServiceBlockingV2Stub stub) {
    this.stub = stub;
  }

  public static void main(String[] arguments) throws Exception {
    ManagedChannel channel = Gateway.connect();
    try {
      var stub = MessagingServiceGrpc.newBlockingV2Stub(channel);
      if (arguments.length == 0 || arguments[0].equals("golden")) {
        new Golden(stub).run();
      } else {
        new Drill(stub, OUT).run(arguments);
      }
    } finally {
      channel.shutdownNow().awaitTermination(5, TimeUnit.SECONDS);
    }
  }

  private void run() throws Exception {
    messages(files());
    say("media message", told(Transfer.sendMedia(stub, "bob")));
    stream();
    repeats();
    deadline();
    errors();
  }

  static void say(String what, Object outcome) {
    OUT.println(what + ": " + outcome);
  }

  static Message.Builder to(String... users) {
    return Message.newBuilder()
        .setFromUserId("amy")
        .setUsers(Users.newBuilder().addAllUserIds(List.of(users)));
  }

  /** With an ID, so that it may be repeated: by the service config, too. */
  static SendMessageRequest request(Message.Builder message) {
    String id = UUID.randomUUID().toString();
    return SendMessageRequest.newBuilder().setMessage(message).setRequestId(id).build();
  }

  static SendMessageRequest text(String words, String... users) {
    return request(to(users).setText(TextContent.newBuilder().setText(words)));
  }

  /** Both lists: with several recipients, OK does not mean all. */
  private static String told(SendMessageResponse answer) {
    String accepted =
        answer.getAcceptedList().stream().map(Accepted::getRecipient).sorted().collect(joining(", "));
    Stream<String> failures =
        answer.getFailuresList().stream()
            .map(one -> String.join(", ", one.getRecipientsList()) + " " + Problem.of(one.getStatus()));
    return Stream.concat(Stream.of("accepted for " + accepted), failures).collect(joining("; "));
  }

  private static String hex(ByteString bytes) {
    return HexFormat.of().formatHex(bytes.toByteArray());
  }

  private FileRef files() throws Exception {
    var stored =
        Transfer.upload(
            stub,
            Transfer.SHA256,
            percent -> {
              if (percent % 25 == 0) {
                say("upload", percent + " %");
              }
            });
    say("uploaded", stored.getSizeBytes() + " bytes, sha256 " + hex(stored.getSha256()));
    var downloaded = Transfer.download(stub, stored.getRef());
    say("downloaded", downloaded.size() + " bytes, sha256 " + hex(downloaded.sha256()));
    return stored.getRef();
  }

  private void messages(FileRef ref) throws StatusException, InterruptedException {
    send("text", to("bob").setText(TextContent.newBuilder().setText("你好")));
    send("image", to("bob").setImage(ImageContent.newBuilder().setFile(ref).setFilename("cat.png").setWidth(640).setHeight(480)));
    send("audio", to("bob").setAudio(AudioContent.newBuilder().setFile(ref).setFilename("cat.mp3").setDurationSeconds(3)));
    send("video", to("bob").setVideo(VideoContent.newBuilder().setFile(ref).setFilename("cat.mp4").setDurationSeconds(3).setSizeBytes(Transfer.CONTENT.size())));
    send("file", to("bob").setFile(FileContent.newBuilder().setFile(ref).setFilename("cat.pdf")));
    send("location", to("bob").setLocation(LocationContent.newBuilder().setLatitude(39.966).setLongitude(116.322).setAddress("Zhongguancun")));
    send("command", to("bob").setCommand(CommandContent.newBuilder().setAction("refresh")));
    send("custom", to("bob").setCustom(CustomContent.newBuilder().setEvent("order").putAttributes("number", "A-7")));

    var hello = TextContent.newBuilder().setText("hello");
    send("groups", to().setText(hello).setGroups(Groups.newBuilder().addGroupIds("1001").addGroupIds("1002")));
    send("chat rooms", to().setText(hello).setChatrooms(Chatrooms.newBuilder().addChatroomIds("77")));
    String[] users = IntStream.range(0, 1000).mapToObj("user%04d"::formatted).toArray(String[]::new);
    var answer = stub.sendMessage(text("hello", users));
    say("1000 users", answer.getAcceptedCount() + " accepted, " + answer.getFailuresCount() + " failures");
  }

  private void send(String what, Message.Builder message) throws StatusException, InterruptedException {
    say(what, told(stub.sendMessage(request(message))));
  }

  /** Answers come as they finish; the correlation ID tells whose they are. */
  private void stream() throws Exception {
    var call = stub.withDeadlineAfter(15, TimeUnit.SECONDS).sendMessages();
    var asked = Map.of("a", text("first", "bob"), "b", text("", "bob"), "c", text("third", "carol"));
    for (var one : asked.entrySet()) {
      call.write(SendMessagesRequest.newBuilder().setCorrelationId(one.getKey()).setRequest(one.getValue()).build());
    }
    call.halfClose();
    Map<String, String> answers = new TreeMap<>();
    while (call.hasNext()) {
      SendMessagesResponse answer = call.read();
      String outcome =
          answer.hasResponse()
              ? told(answer.getResponse())
              : Problem.of(answer.getFailure().getStatus()).toString();
      answers.put(answer.getCorrelationId(), outcome);
    }
    answers.forEach((name, outcome) -> say("stream " + name, outcome));
  }

  private void repeats() throws StatusException, InterruptedException {
    SendMessageRequest once = text("once", "bob");
    SendMessageResponse first = stub.sendMessage(once);
    SendMessageResponse again = stub.sendMessage(once);
    say("first", told(first) + ", replayed " + first.getReplayed());
    boolean same = first.getAccepted(0).getMessageId().equals(again.getAccepted(0).getMessageId());
    say("repeat", told(again) + ", replayed " + again.getReplayed() + ", same ID " + same);
  }

  private void deadline() throws InterruptedException {
    try {
      stub.withDeadlineAfter(2, TimeUnit.SECONDS).sendMessage(text("hello", "fault-silence"));
    } catch (StatusException error) {
      // The gateway's verdict, or this client's own timer, which knows less: the same to us.
      say("deadline", Problem.of(error).sendState());
    }
  }

  private void errors() throws Exception {
    fails("wrong fields", () -> stub.sendMessage(text("", "bob", "")));
    fails("quota", () -> stub.withDeadlineAfter(2500, TimeUnit.MILLISECONDS).sendMessage(text("hello", "fault-429")));
    fails("in doubt", () -> stub.sendMessage(text("hello", "fault-reset")));
    fails("checksum", () -> Transfer.upload(stub, ByteString.copyFrom(new byte[32]), percent -> {}));
    Problem problem = fails("refused after the upload", () -> Transfer.sendMedia(stub, "fault-403"));
    var file = FileContent.newBuilder().setFile(problem.uploaded().getFile().getRef()).setFilename("cat.bin");
    send("the same file to another", to("bob").setFile(file));
    ManagedChannel stranger = Gateway.connect("egk_nobodys");
    try {
      fails("unknown key", () -> MessagingServiceGrpc.newBlockingV2Stub(stranger).sendMessage(text("hello", "bob")));
    } finally {
      stranger.shutdownNow();
    }
  }

  /** A call that ends in an error. */
  private interface Call {
    Object answer() throws StatusException, InterruptedException;
  }

  private static Problem fails(String what, Call call) throws InterruptedException {
    try {
      call.answer();
    } catch (StatusException error) {
      Problem problem = Problem.of(error);
      say(what, problem);
      return problem;
    }
    throw new IllegalStateException(what + ": no error");
  }
}
