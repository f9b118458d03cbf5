package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"
	"google.golang.org/grpc/status"

	v1 "example.com/easemob-gateway/go/gen/easemob/messaging/v1"
)

const tenMB = 10 * 1024 * 1024

// drill does what the tests try besides: uploads that are refused or given up, and sends while the
// gateway restarts.
func drill(ctx context.Context, client v1.MessagingServiceClient, arguments []string) {
	switch arguments[0] {
	case "refused":
		refused(ctx, client, must(strconv.Atoi(arguments[1])))
	case "cancelled":
		cancelled(ctx, client, arguments[1])
	case "steady":
		steady(ctx, client, arguments[1], time.Duration(must(strconv.Atoi(arguments[2])))*time.Second)
	default:
		log.Fatalf("no drill is called %s", arguments[0])
	}
}

// refused uploads a file that is too large, and counts what it is told.
func refused(ctx context.Context, client v1.MessagingServiceClient, times int) {
	counts := map[string]int{}
	for range times {
		if err := uploadTooLarge(ctx, client); err != nil {
			counts[read(status.Convert(err)).String()]++
		}
	}
	for _, told := range slices.Sorted(maps.Keys(counts)) {
		fmt.Printf("%d × %s\n", counts[told], told)
	}
}

func uploadTooLarge(ctx context.Context, client v1.MessagingServiceClient) error {
	stream, err := client.UploadFile(ctx)
	if err != nil {
		return err
	}
	size := uint64(tenMB + 1)
	header := &v1.UploadFileHeader{Filename: "large.bin", Upload: &v1.UploadOptions{SizeBytes: &size}}
	part := &v1.UploadFileRequest{Part: &v1.UploadFileRequest_Header{Header: header}}
	for range tenMB / chunk {
		if err := stream.Send(part); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		part = &v1.UploadFileRequest{Part: &v1.UploadFileRequest_Chunk{Chunk: make([]byte, chunk)}}
	}
	_, err = stream.CloseAndRecv()
	return err
}

// cancelled gives up in the middle of a file.
func cancelled(ctx context.Context, client v1.MessagingServiceClient, user string) {
	ctx, cancel := context.WithCancel(ctx)
	stream := must(client.SendMediaMessage(ctx))
	for _, part := range mediaParts(user)[:8] {
		must("", stream.Send(part))
	}
	cancel()
	_, err := stream.CloseAndRecv()
	fmt.Println(read(status.Convert(err)).code)
}

// steady sends for so long, and prints what became of each message.
func steady(ctx context.Context, client v1.MessagingServiceClient, user string, limit time.Duration) {
	end := time.Now().Add(limit)
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for time.Now().Before(end) {
				request := text("", user)
				request.RequestId = uuid.NewString()
				request.Message.Content = &v1.Message_Text{Text: &v1.TextContent{Text: request.RequestId}}
				if _, err := client.SendMessage(ctx, request); err != nil {
					fmt.Printf("failed %s %s\n", request.RequestId, read(status.Convert(err)))
				} else {
					fmt.Printf("ok %s\n", request.RequestId)
				}
			}
		})
	}
	workers.Wait()
}
