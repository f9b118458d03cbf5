// The connection to the gateway, by gRPC-Web.

import { createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { MessagingService } from "../gen/easemob/messaging/v1/messaging_service_pb.js";

// In production the page's own host, where what the users log in to passes the calls on and adds the gateway's key: a
// page must not hold one, since whoever reads the page would have it.
const address = new URLSearchParams(location.search).get("gateway") ?? "http://127.0.0.1:8081";

const transport = createGrpcWebTransport({
  baseUrl: address,
  // Cookies of that login, where it is of another origin than the page.
  fetch: (input, init) => fetch(input, { ...init, credentials: "include" }),
  defaultTimeoutMs: 15_000,
});

export const gateway = createClient(MessagingService, transport);
