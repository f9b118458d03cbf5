// Command go does all that the API can do, once: what it prints is the same in every language.
package main

//go:generate buf generate ../../proto --path ../../proto/easemob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	v1 "example.com/easemob-gateway/go/gen/easemob/messaging/v1"
)

func say(what, outcome string) { fmt.Printf("%s: %s\n", what, outcome) }

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(read(status.Convert(err)), ": ", err)
	}
	return value
}

func toUsers(users ...string) *v1.Message {
	return &v1.Message{
		FromUserId: proto.String("amy"),
		Target:     &v1.Message_Users{Users: &v1.Users{UserIds: users}},
	}
}

// request gives a message an ID, so that it may be repeated: by the service config, too.
func request(message *v1.Message) *v1.SendMessageRequest {
	return &v1.SendMessageRequest{Message: message, RequestId: uuid.NewString()}
}

func text(words string, users ...string) *v1.SendMessageRequest {
	message := toUsers(users...)
	message.Content = &v1.Message_Text{Text: &v1.TextContent{Text: words}}
	return request(message)
}

// told tells both lists: with several recipients, OK does not mean all.
func told(answer *v1.SendMessageResponse) string {
	var accepted []string
	for _, one := range answer.Accepted {
		accepted = append(accepted, one.Recipient)
	}
	slices.Sort(accepted)
	words := []string{"accepted for " + strings.Join(accepted, ", ")}
	for _, one := range answer.Failures {
		words = append(words, strings.Join(one.Recipients, ", ")+" "+read(status.FromProto(one.Status)).String())
	}
	return strings.Join(words, "; ")
}

func fails(what string, err error) problem {
	if err == nil {
		log.Fatalf("%s: no error", what)
	}
	problem := read(status.Convert(err))
	say(what, problem.String())
	return problem
}

func files(ctx context.Context, client v1.MessagingServiceClient) *v1.FileRef {
	stored := must(upload(ctx, client, digest[:], func(percent int) {
		if percent%25 == 0 {
			say("upload", fmt.Sprintf("%d %%", percent))
		}
	}))
	say("uploaded", fmt.Sprintf("%d bytes, sha256 %x", stored.SizeBytes, stored.Sha256))
	size, sum, err := download(ctx, client, stored.Ref)
	must(size, err)
	say("downloaded", fmt.Sprintf("%d bytes, sha256 %x", size, sum))
	return stored.Ref
}

func messages(ctx context.Context, client v1.MessagingServiceClient, ref *v1.FileRef) {
	send := func(what string, message *v1.Message) {
		say(what, told(must(client.SendMessage(ctx, request(message)))))
	}
	three := proto.Uint32(3)
	for _, kind := range []struct {
		name    string
		message *v1.Message
	}{
		{"text", &v1.Message{Content: &v1.Message_Text{Text: &v1.TextContent{Text: "你好"}}}},
		{"image", &v1.Message{Content: &v1.Message_Image{Image: &v1.ImageContent{File: ref, Filename: "cat.png", Width: 640, Height: 480}}}},
		{"audio", &v1.Message{Content: &v1.Message_Audio{Audio: &v1.AudioContent{File: ref, Filename: "cat.mp3", DurationSeconds: three}}}},
		{"video", &v1.Message{Content: &v1.Message_Video{Video: &v1.VideoContent{File: ref, Filename: "cat.mp4", DurationSeconds: three, SizeBytes: size(content)}}}},
		{"file", &v1.Message{Content: &v1.Message_File{File: &v1.FileContent{File: ref, Filename: "cat.pdf"}}}},
		{"location", &v1.Message{Content: &v1.Message_Location{Location: &v1.LocationContent{Latitude: proto.Float64(39.966), Longitude: proto.Float64(116.322), Address: "Zhongguancun"}}}},
		{"command", &v1.Message{Content: &v1.Message_Command{Command: &v1.CommandContent{Action: "refresh"}}}},
		{"custom", &v1.Message{Content: &v1.Message_Custom{Custom: &v1.CustomContent{Event: "order", Attributes: map[string]string{"number": "A-7"}}}}},
	} {
		to := toUsers("bob")
		proto.Merge(to, kind.message)
		send(kind.name, to)
	}
	hello := toUsers()
	hello.Content = &v1.Message_Text{Text: &v1.TextContent{Text: "hello"}}
	hello.Target = &v1.Message_Groups{Groups: &v1.Groups{GroupIds: []string{"1001", "1002"}}}
	send("groups", hello)
	hello.Target = &v1.Message_Chatrooms{Chatrooms: &v1.Chatrooms{ChatroomIds: []string{"77"}}}
	send("chat rooms", hello)
	var users []string
	for number := range 1000 {
		users = append(users, fmt.Sprintf("user%04d", number))
	}
	answer := must(client.SendMessage(ctx, text("hello", users...)))
	say("1000 users", fmt.Sprintf("%d accepted, %d failures", len(answer.Accepted), len(answer.Failures)))
}

// stream sends several: answers come as they finish, and the correlation ID tells whose they are.
func stream(ctx context.Context, client v1.MessagingServiceClient) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	stream := must(client.SendMessages(ctx))
	asked := map[string]*v1.SendMessageRequest{"a": text("first", "bob"), "b": text("", "bob"), "c": text("third", "carol")}
	for name, one := range asked {
		must(name, stream.Send(&v1.SendMessagesRequest{CorrelationId: name, Request: one}))
	}
	must("", stream.CloseSend())
	var answers []string
	for {
		answer, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		outcome := ""
		if failure := must(answer, err).GetFailure(); failure != nil {
			outcome = read(status.FromProto(failure.Status)).String()
		} else {
			outcome = told(answer.GetResponse())
		}
		answers = append(answers, fmt.Sprintf("stream %s: %s", answer.CorrelationId, outcome))
	}
	slices.Sort(answers)
	fmt.Println(strings.Join(answers, "\n"))
}

func repeats(ctx context.Context, client v1.MessagingServiceClient) {
	once := text("once", "bob")
	first, again := must(client.SendMessage(ctx, once)), must(client.SendMessage(ctx, once))
	say("first", fmt.Sprintf("%s, replayed %t", told(first), first.Replayed))
	same := first.Accepted[0].MessageId == again.Accepted[0].MessageId
	say("repeat", fmt.Sprintf("%s, replayed %t, same ID %t", told(again), again.Replayed, same))
}

func within(ctx context.Context, client v1.MessagingServiceClient, limit time.Duration, user string) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	_, err := client.SendMessage(ctx, text("hello", user))
	return err
}

func failures(ctx context.Context, client v1.MessagingServiceClient) {
	// The gateway's verdict, or this client's own timer, which knows less: the same to us.
	late := within(ctx, client, 2*time.Second, "fault-silence")
	say("deadline", read(status.Convert(late)).sendState)
	_, err := client.SendMessage(ctx, text("", "bob", ""))
	fails("wrong fields", err)
	fails("quota", within(ctx, client, 2500*time.Millisecond, "fault-429"))
	fails("in doubt", within(ctx, client, 15*time.Second, "fault-reset"))
	_, err = upload(ctx, client, make([]byte, 32), func(int) {})
	fails("checksum", err)
	_, err = sendMedia(ctx, client, "fault-403")
	problem := fails("refused after the upload", err)
	finished := toUsers("bob")
	finished.Content = &v1.Message_File{File: &v1.FileContent{File: problem.uploaded.File.Ref, Filename: "cat.bin"}}
	say("the same file to another", told(must(client.SendMessage(ctx, request(finished)))))
	stranger := must(connect("egk_nobodys"))
	defer stranger.Close()
	_, err = v1.NewMessagingServiceClient(stranger).SendMessage(ctx, text("hello", "bob"))
	fails("unknown key", err)
}

func golden(ctx context.Context, client v1.MessagingServiceClient) {
	messages(ctx, client, files(ctx, client))
	say("media message", told(must(sendMedia(ctx, client, "bob"))))
	stream(ctx, client)
	repeats(ctx, client)
	failures(ctx, client)
}

func main() {
	connection := must(connect(""))
	defer connection.Close()
	client := v1.NewMessagingServiceClient(connection)
	if len(os.Args) > 1 && os.Args[1] != "golden" {
		drill(context.Background(), client, os.Args[1:])
		return
	}
	golden(context.Background(), client)
}
