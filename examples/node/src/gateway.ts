// The connection to a gateway: TLS, the caller's key, and the service config that retries what is safe.

import { readFileSync } from "node:fs";
import { credentials, Metadata } from "@grpc/grpc-js";
import { MessagingServiceClient } from "../gen/easemob/messaging/v1/messaging_service.js";

const SERVICE_CONFIG = new URL("../../../../proto/easemob/messaging/v1/service_config.json", import.meta.url);

/** To the gateway that the environment names; with this key in place of the one there. */
export function connect(key = callerKey()): MessagingServiceClient {
  const url = new URL(process.env.EASEMOB_GATEWAY_URL ?? "http://127.0.0.1:50051");
  const options = { "grpc.service_config": readFileSync(SERVICE_CONFIG, "utf8") };
  if (url.protocol === "http:") {
    return new MessagingServiceClient(url.host, credentials.createInsecure(), options);
  }
  const authority = process.env.EASEMOB_GATEWAY_CA;
  const tls = credentials.createSsl(authority ? readFileSync(authority) : null);
  if (!key) {
    return new MessagingServiceClient(url.host, tls, options);
  }
  const withKey = credentials.createFromMetadataGenerator((_call, done) => {
    const metadata = new Metadata();
    metadata.set("authorization", `Bearer ${key}`);
    done(null, metadata);
  });
  return new MessagingServiceClient(url.host, credentials.combineChannelCredentials(tls, withKey), options);
}

/** Metadata of a call that waits for a connection: grpc-js does not look for this in the service config. */
export function waiting(): Metadata {
  return new Metadata({ waitForReady: true });
}

function callerKey(): string | undefined {
  const file = process.env.EASEMOB_GATEWAY_KEY_FILE;
  return file ? readFileSync(file, "utf8").trim() : process.env.EASEMOB_GATEWAY_KEY;
}
