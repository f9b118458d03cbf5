//! SendMessage through the real server, with the sandbox at the back door: what reaches Easemob, and
//! what the caller is told.

mod answers;
mod any_message;
mod apps;
mod documented;
mod envelope;
mod errors;
mod ids;
mod long;
mod many;
mod memory;
mod pressure;
mod quota;
mod service;
mod validation;
mod wire;

use std::sync::Arc;

use easemob_gateway::{
    proto::{SendMessageRequest, SendMessageResponse},
    sandbox::{self, Call, Endpoint, Fault, Sandbox},
};
use serde_json::Value;
use tonic::Status;

use crate::support::{
    gateway::{Setup, TestGateway},
    ledger::Client,
};

const USERS: Endpoint = Endpoint::SendToUsers;

/// The five endpoints that a message can end up at.
const SENDS: [Endpoint; 5] = [
    Endpoint::SendToUsers,
    Endpoint::SendToGroups,
    Endpoint::SendToGroupMembers,
    Endpoint::SendToChatrooms,
    Endpoint::SendToChatroomMembers,
];

/// A gateway in front of a sandbox of its own, and a client of it.
struct Started {
    easemob: Sandbox,
    gateway: TestGateway,
    client: Client,
}

/// With the settings that everybody has.
async fn start() -> Started {
    start_with(|setup| setup).await
}

/// With a gateway that is set up in another way.
async fn start_with(change: impl FnOnce(Setup) -> Setup) -> Started {
    start_at(sandbox::Config::for_tests(), change).await
}

/// With another sandbox, too.
async fn start_at(config: sandbox::Config, change: impl FnOnce(Setup) -> Setup) -> Started {
    let easemob = Sandbox::start(config).unwrap();
    let gateway = change(Setup::at(easemob.base_url())).start().await;
    let client = gateway.client().await;
    Started {
        easemob,
        gateway,
        client,
    }
}

impl Started {
    async fn send(
        &self,
        request: impl tonic::IntoRequest<SendMessageRequest>,
    ) -> Result<SendMessageResponse, Status> {
        let mut client = self.client.clone();
        Ok(client.send_message(request).await?.into_inner())
    }

    /// Sends to users, and gives them this answer.
    async fn send_answered(
        &self,
        request: SendMessageRequest,
        answer: Fault,
    ) -> Result<SendMessageResponse, Status> {
        self.easemob.script(USERS, [answer]);
        let response = self.send(request).await;
        assert_eq!(self.easemob.script_left(USERS), 0, "it was sent");
        response
    }

    /// The one call that reached Easemob.
    fn only_call(&self) -> Arc<Call> {
        let mut calls: Vec<_> = SENDS
            .iter()
            .flat_map(|&endpoint| self.easemob.calls(endpoint))
            .collect();
        assert_eq!(calls.len(), 1);
        calls.remove(0)
    }

    /// The JSON of the one call that reached Easemob; then forgets it.
    fn take_json(&self) -> Value {
        let json = self.only_call().json().expect("JSON was sent");
        self.easemob.clear_calls();
        json
    }

    /// The JSON of every call that reached Easemob; then forgets them.
    fn take_all_json(&self) -> Vec<Value> {
        let calls = SENDS
            .iter()
            .flat_map(|&endpoint| self.easemob.calls(endpoint));
        let json = calls.map(|call| call.json().expect("JSON was sent"));
        let json = json.collect();
        self.easemob.clear_calls();
        json
    }

    /// How many sends reached Easemob.
    fn sent(&self) -> u64 {
        SENDS
            .iter()
            .map(|&endpoint| self.easemob.call_count(endpoint))
            .sum()
    }
}

/// A 200 with this body.
fn answer(body: &impl ToString) -> Fault {
    let headers = [("content-type", "application/json;charset=UTF-8")];
    Fault::raw(200, headers, body.to_string())
}
