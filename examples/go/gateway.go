package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
)

// What is safe to retry, and how long calls may take; shipped with the proto files.
const serviceConfig = "../../proto/easemob/messaging/v1/service_config.json"

// bearer is a caller's key, sent with each call.
type bearer string

func (key bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(key)}, nil
}

func (bearer) RequireTransportSecurity() bool { return true }

// connect connects to the gateway that the environment names; with this key in place of the one there.
func connect(key string) (*grpc.ClientConn, error) {
	address := os.Getenv("EASEMOB_GATEWAY_URL")
	if address == "" {
		address = "http://127.0.0.1:50051"
	}
	gateway, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	config, err := os.ReadFile(serviceConfig)
	if err != nil {
		return nil, err
	}
	options := []grpc.DialOption{grpc.WithDefaultServiceConfig(string(config))}
	if gateway.Scheme == "http" {
		options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
		return grpc.NewClient(gateway.Host, options...)
	}
	roots, err := authorities()
	if err != nil {
		return nil, err
	}
	options = append(options, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: roots})))
	if key == "" {
		if key, err = callerKey(); err != nil {
			return nil, err
		}
	}
	if key != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer(key)))
	}
	return grpc.NewClient(gateway.Host, options...)
}

// authorities are those of a file; nil, the system's, where none is named.
func authorities() (*x509.CertPool, error) {
	file := os.Getenv("EASEMOB_GATEWAY_CA")
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate", file)
	}
	return pool, nil
}

func callerKey() (string, error) {
	if file := os.Getenv("EASEMOB_GATEWAY_KEY_FILE"); file != "" {
		key, err := os.ReadFile(file)
		return strings.TrimSpace(string(key)), err
	}
	return os.Getenv("EASEMOB_GATEWAY_KEY"), nil
}
