package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"

	v1 "example.com/easemob-gateway/go/gen/easemob/messaging/v1"
)

const chunk = 64 * 1024

var (
	content = every(256, 4096)
	digest  = sha256.Sum256(content)
)

// every is the numbers below n as bytes, so many times.
func every(n, times int) []byte {
	once := make([]byte, n)
	for i := range once {
		once[i] = byte(i)
	}
	return bytes.Repeat(once, times)
}

// upload sends header, chunks and finish. Send waits while there is no room.
func upload(ctx context.Context, client v1.MessagingServiceClient, sum []byte, progress func(int)) (*v1.UploadedFile, error) {
	stream, err := client.UploadFile(ctx)
	if err != nil {
		return nil, err
	}
	options := &v1.UploadOptions{SizeBytes: size(content)}
	header := &v1.UploadFileHeader{Filename: "cat.bin", Upload: options}
	parts := []*v1.UploadFileRequest{{Part: &v1.UploadFileRequest_Header{Header: header}}}
	for start := 0; start < len(content); start += chunk {
		parts = append(parts, &v1.UploadFileRequest{Part: &v1.UploadFileRequest_Chunk{Chunk: content[start : start+chunk]}})
	}
	finish := &v1.UploadFinish{SizeBytes: size(content), Sha256: sum}
	parts = append(parts, &v1.UploadFileRequest{Part: &v1.UploadFileRequest_Finish{Finish: finish}})
	for i, part := range parts {
		// io.EOF: the gateway has answered already, and CloseAndRecv tells what.
		if err := stream.Send(part); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		if part.GetChunk() != nil {
			progress(i * chunk * 100 / len(content))
		}
	}
	answer, err := stream.CloseAndRecv()
	return answer.GetFile(), err
}

// mediaParts are the parts of a message that carries the file.
func mediaParts(user string) []*v1.SendMediaMessageRequest {
	message := toUsers(user)
	message.Content = &v1.Message_File{File: &v1.FileContent{Filename: "cat.bin"}}
	parts := []*v1.SendMediaMessageRequest{
		{Part: &v1.SendMediaMessageRequest_Header{Header: &v1.MediaHeader{Message: message}}},
	}
	for start := 0; start < len(content); start += chunk {
		part := &v1.SendMediaMessageRequest_Chunk{Chunk: content[start : start+chunk]}
		parts = append(parts, &v1.SendMediaMessageRequest{Part: part})
	}
	finish := &v1.UploadFinish{SizeBytes: size(content), Sha256: digest[:]}
	return append(parts, &v1.SendMediaMessageRequest{Part: &v1.SendMediaMessageRequest_Finish{Finish: finish}})
}

// sendMedia uploads the file and sends the message that carries it.
func sendMedia(ctx context.Context, client v1.MessagingServiceClient, user string) (*v1.SendMessageResponse, error) {
	stream, err := client.SendMediaMessage(ctx)
	if err != nil {
		return nil, err
	}
	for _, part := range mediaParts(user) {
		if err := stream.Send(part); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
	}
	answer, err := stream.CloseAndRecv()
	return answer.GetSent(), err
}

// download returns size and SHA-256 of what comes back.
func download(ctx context.Context, client v1.MessagingServiceClient, ref *v1.FileRef) (int, []byte, error) {
	stream, err := client.DownloadFile(ctx, &v1.DownloadFileRequest{File: ref})
	if err != nil {
		return 0, nil, err
	}
	bytes, sum := 0, sha256.New()
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return bytes, sum.Sum(nil), nil
		}
		if err != nil {
			return 0, nil, err
		}
		bytes += len(part.GetChunk())
		sum.Write(part.GetChunk())
	}
}

func size(content []byte) *uint64 {
	bytes := uint64(len(content))
	return &bytes
}
