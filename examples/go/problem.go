package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/status"

	v1 "example.com/easemob-gateway/go/gen/easemob/messaging/v1"
)

// problem is what an error says, from its typed details.
type problem struct {
	code, reason, sendState string
	fields                  []string
	retryAfter              *time.Duration
	uploaded                *v1.UploadedMedia
}

// read reads an error that a call has returned, or the status in a SendFailure.
func read(failed *status.Status) problem {
	// Without word of the gateway, nobody knows: a proxy or a timer may have made the error.
	read := problem{code: code.Code(failed.Code()).String(), reason: "no ErrorInfo", sendState: "MAYBE_SENT"}
	for _, detail := range failed.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			read.reason, read.sendState = detail.Reason, detail.Metadata["send_state"]
		case *errdetails.BadRequest:
			for _, violation := range detail.FieldViolations {
				read.fields = append(read.fields, violation.Field)
			}
			slices.Sort(read.fields)
		case *errdetails.RetryInfo:
			wait := detail.RetryDelay.AsDuration()
			read.retryAfter = &wait
		case *v1.UploadedMedia:
			read.uploaded = detail
		}
	}
	return read
}

func (p problem) String() string {
	text := strings.TrimSpace(p.code + " " + p.reason + " " + p.sendState)
	if len(p.fields) > 0 {
		text += ", fields " + strings.Join(p.fields, ", ")
	}
	if p.retryAfter != nil {
		text += ", tells when to try again"
	}
	if p.uploaded != nil {
		text += fmt.Sprintf(", uploaded %d bytes", p.uploaded.File.SizeBytes)
	}
	return text
}
