//! Files on this machine, on their way up or down: what `send`, `upload` and `download` share.

mod facts;
mod option;
mod progress;
mod source;
mod stored;
mod upload;

pub(super) use self::{
    option::{Store, ThumbnailSize},
    progress::Progress,
    source::Source,
    stored::{Stored, hex},
    upload::{Broken, Piece, Upload},
};
