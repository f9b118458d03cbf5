//! The figures, row by row, and where they have to be.

use super::{Figure, Row, Rule};
use crate::{
    bare::Build, collector::Manner, gateway::Policies, load::Shape, report::Bound, server::Server,
};

const BARE: &str = "bare pass-through";
const BARE_OURS: &str = "the same, our profile and allocator";
const STRAIGHT: &str = "h2load at the sink";
const GATEWAY: &str = "gateway, everything on";
const ONE: &str = "1 recipient";
const HUNDRED: &str = "100 recipients of 12 characters";

const ECHO_ROW: Row = row("bare echo", Server::Echo);
const BARE_ROW: Row = row(BARE, Server::PassThrough(Build::Plain));
const BARE_OURS_ROW: Row = row(BARE_OURS, Server::PassThrough(Build::Ours));
const GATEWAY_ROW: Row = row(GATEWAY, Server::Gateway(Policies::EVERYTHING));
const STRAIGHT_ROW: Row = row(STRAIGHT, Server::Straight);

const fn row(name: &'static str, server: Server) -> Row {
    Row { name, server }
}

const fn to_collector(manner: Manner) -> Server {
    Server::Gateway(Policies::EVERYTHING.traced_to(manner))
}

const fn shape(connections: usize, streams: usize) -> Shape {
    Shape {
        connections,
        streams,
    }
}

const fn rule(over: &'static str, column: &'static str, bound: Bound, aim: &'static str) -> Rule {
    Rule {
        row: GATEWAY,
        over,
        column,
        bound,
        aim,
    }
}

/// Every figure of the closed loop.
pub(crate) const FIGURES: &[Figure] = &[
    Figure {
        name: "callers",
        about: "ten callers' connections",
        shapes: &[shape(10, 10)],
        rows: &[ECHO_ROW, BARE_ROW, BARE_OURS_ROW, GATEWAY_ROW, STRAIGHT_ROW],
        base: BARE,
        rules: &[
            rule(BARE, "sends/s", Bound::AtLeast(1.5), "2"),
            rule(BARE, "CPU", Bound::AtMost(0.7), "0.5"),
            rule(BARE, "p99", Bound::AtMost(0.7), "0.5"),
            rule(BARE_OURS, "sends/s", Bound::AtLeast(1.1), "1.1"),
            rule(STRAIGHT, "sends/s", Bound::AtLeast(0.35), "0.35"),
        ],
        brief: false,
    },
    Figure {
        name: "mesh",
        about: "one connection, as a mesh sidecar has",
        shapes: &[shape(1, 100)],
        rows: &[BARE_ROW, BARE_OURS_ROW, GATEWAY_ROW],
        base: BARE,
        rules: &[rule(BARE, "sends/s", Bound::AtLeast(1.2), "1.2")],
        brief: false,
    },
    Figure {
        name: "many",
        about: "fifty callers' connections",
        shapes: &[shape(50, 10)],
        rows: &[BARE_ROW, BARE_OURS_ROW, GATEWAY_ROW],
        base: BARE,
        rules: &[rule(BARE, "sends/s", Bound::AtLeast(1.8), "1.8")],
        brief: false,
    },
    Figure {
        name: "shapes",
        about: "every other shape of load",
        shapes: &[
            shape(1, 1),
            shape(1, 10),
            shape(10, 1),
            shape(10, 100),
            shape(50, 1),
            shape(50, 100),
        ],
        rows: &[BARE_ROW, GATEWAY_ROW],
        base: BARE,
        rules: &[],
        brief: true,
    },
    Figure {
        name: "policies",
        about: "what each costs, by switching it off, or on",
        shapes: &[shape(10, 10)],
        rows: &[
            GATEWAY_ROW,
            row(
                "no quota",
                Server::Gateway(Policies::EVERYTHING.without_quota()),
            ),
            row(
                "no traces",
                Server::Gateway(Policies::EVERYTHING.traced(None)),
            ),
            row(
                "all sends traced",
                Server::Gateway(Policies::EVERYTHING.traced(Some(1000))),
            ),
            row(
                "no keys",
                Server::Gateway(Policies::EVERYTHING.with_callers(0)),
            ),
            row(
                "a request ID with each send",
                Server::Gateway(Policies::EVERYTHING.with_request_ids()),
            ),
            row(
                "none of them",
                Server::Gateway(Policies::PLAIN.without_quota()),
            ),
        ],
        base: GATEWAY,
        rules: &[],
        brief: false,
    },
    Figure {
        name: "collector",
        about: "every send traced, whatever becomes of the spans",
        shapes: &[shape(10, 10)],
        rows: &[
            row(
                "no traces",
                Server::Gateway(Policies::EVERYTHING.traced(None)),
            ),
            row("all sends traced", to_collector(Manner::Prompt)),
            row("collector slow", to_collector(Manner::Slow)),
            row("collector refuses", to_collector(Manner::Refusing)),
            row("collector gone", to_collector(Manner::Gone)),
        ],
        base: "no traces",
        rules: &[],
        brief: true,
    },
    Figure {
        name: "recipients",
        about: "one recipient, and a hundred in one part",
        shapes: &[shape(10, 10)],
        rows: &[
            row(ONE, Server::Gateway(Policies::EVERYTHING)),
            row(
                HUNDRED,
                Server::Gateway(Policies::EVERYTHING.with_recipients(100)),
            ),
        ],
        base: ONE,
        rules: &[Rule {
            row: HUNDRED,
            over: ONE,
            column: "CPU",
            bound: Bound::AtMost(2.0),
            aim: "2",
        }],
        brief: true,
    },
    Figure {
        name: "streams",
        about: "unary calls, and as many requests at once on `SendMessages` streams",
        shapes: &[shape(10, 10)],
        rows: &[
            row("unary", Server::Gateway(Policies::EVERYTHING)),
            row("SendMessages", Server::Stream(Policies::EVERYTHING)),
        ],
        base: "unary",
        rules: &[],
        brief: true,
    },
];
