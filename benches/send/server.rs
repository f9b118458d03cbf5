//! What is measured, by the name of its row.

use std::process::Command;

use crate::{
    bare::Build,
    call::{Calls, Options},
    gateway::Policies,
    load::{Load, Shape},
    message,
    peer::Peer,
    streams,
};

/// A way for a send to reach the sink, or to be answered before.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Server {
    /// Answers by itself: the price of gRPC alone.
    Echo,
    /// A tonic server that passes each send to a reqwest client.
    PassThrough(Build),
    Gateway(Policies),
    /// The same, by the stream `SendMessages`.
    Stream(Policies),
    /// h2load, straight at the sink.
    Straight,
}

impl Server {
    /// Starts it in front of a sink; `under` another program, such as valgrind.
    pub(crate) fn start(self, sink: &Peer, under: Option<Command>) -> anyhow::Result<Option<Peer>> {
        Ok(Some(match self {
            Self::Echo => Build::Ours.start(&["echo"], under)?,
            Self::PassThrough(build) => {
                let base_url = format!("http://{}/acme/shop", sink.address);
                build.start(&["pass-through", &base_url], under)?
            }
            Self::Gateway(policies) | Self::Stream(policies) => policies.start(sink, under)?,
            Self::Straight => return Ok(None),
        }))
    }

    /// What calls to it have to be like.
    pub(crate) fn options(self) -> Options {
        match self {
            Self::Gateway(policies) | Self::Stream(policies) => policies.calls,
            _ => Options::PLAIN,
        }
    }

    /// Begins to call it.
    pub(crate) async fn load(self, peer: &Peer, shape: Shape) -> anyhow::Result<Load> {
        if let Self::Stream(policies) = self {
            return streams::start(peer.address, shape, policies.calls).await;
        }
        let frame = |request: &_| message::frame(request);
        let calls = Calls::with(peer.address, message::METHOD, self.options(), frame)?;
        Load::start(peer.address, shape, &calls).await
    }

    /// Whether the sink hears of what it answers.
    pub(crate) fn reaches_sink(self) -> bool {
        !matches!(self, Self::Echo)
    }
}
