// Uploads that are refused while they are under way, by grpc-js: node refused_upload.mjs TARGET PROTO_FOLDER
// prints one line of JSON, how often each status was seen for each kind of refusal.

import { createRequire } from "node:module";

// From the folder that tools/install.sh fills: NODE_MODULES.
const require = createRequire(`${process.env.NODE_MODULES}/`);
const grpc = require("@grpc/grpc-js");
const loader = require("@grpc/proto-loader");

const [target, protos] = process.argv.slice(2);
const TIMES = 50;
const CHUNK = Buffer.alloc(64 * 1024);
const TEN_MEGABYTES = 160;

const definition = loader.loadSync("easemob/messaging/v1/messaging_service.proto", {
  includeDirs: [protos],
  keepCase: true,
  longs: String,
});
const { MessagingService } = grpc.loadPackageDefinition(definition).easemob.messaging.v1;
const client = new MessagingService(target, grpc.credentials.createInsecure());

const header = { filename: "cat.jpg", upload: {} };
const message = { users: { user_ids: ["nobody"] }, image: { filename: "cat.jpg", width: 3 } };
const refusals = {
  declared: ["UploadFile", { header: { ...header, upload: { size_bytes: 11 * 1024 * 1024 } } }, TEN_MEGABYTES],
  message: ["SendMediaMessage", { header: { message } }, TEN_MEGABYTES],
  grown: ["UploadFile", { header }, 11 * 16],
};

// The whole of it, as fast as the call takes it; how it ended.
function upload([method, first, chunks]) {
  return new Promise((resolve) => {
    const call = client[method]({ deadline: Date.now() + 10_000 }, (error) => {
      resolve(error ? `${grpc.status[error.code]}: ${error.details.split(".")[0]}` : "OK");
    });
    call.on("error", () => {});
    call.write(first);
    let left = chunks;
    const more = () => {
      while (left > 0) {
        left -= 1;
        if (!call.write({ chunk: CHUNK })) {
          call.once("drain", more);
          return;
        }
      }
      call.write({ finish: {} });
      call.end();
    };
    more();
  });
}

const seen = {};
for (const [name, refusal] of Object.entries(refusals)) {
  seen[name] = {};
  for (let round = 0; round < TIMES; round += 1) {
    const status = await upload(refusal);
    seen[name][status] = (seen[name][status] ?? 0) + 1;
  }
}
console.log(JSON.stringify(seen));
client.close();
