//! `/sandbox/files`: what was stored, newest last.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use serde::Serialize;

use super::each;
use crate::sandbox::State;
use crate::sandbox::file::File;

#[derive(Serialize)]
pub(super) struct Listed {
    #[serde(serialize_with = "each")]
    files: Vec<Arc<File>>,
}

pub(super) async fn list(sandbox: Shared<Arc<State>>) -> Json<Listed> {
    Json(Listed {
        files: sandbox.files.list(),
    })
}

pub(super) async fn clear(sandbox: Shared<Arc<State>>) -> StatusCode {
    sandbox.files.clear();
    StatusCode::NO_CONTENT
}
