//! What the tests share.

pub mod easemob;
pub mod gateway;
pub mod request;
