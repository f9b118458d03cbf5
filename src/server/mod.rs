//! .
mod config;
pub use self::config::Config;
