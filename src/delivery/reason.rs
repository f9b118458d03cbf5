//! The reason of each failure, as callers and metrics have it.

use super::Failure;
use crate::{easemob::Kind, media, proto::ErrorReason, store};

impl Failure {
    /// The reason.
    pub fn reason(&self) -> ErrorReason {
        match self {
            Self::Easemob(error) => reason_of(error.kind),
            Self::Upload(error) => match error {
                media::Error::OutOfOrder(_) => ErrorReason::StreamOutOfOrder,
                media::Error::Invalid(..) => ErrorReason::InvalidRequest,
                media::Error::TooLarge { .. } => ErrorReason::FileTooLarge,
                media::Error::Incomplete(_) => ErrorReason::UploadIncomplete,
                media::Error::Mismatch(_) => ErrorReason::ChecksumMismatch,
            },
            Self::DeadlineExceeded => ErrorReason::DeadlineExceeded,
            Self::RequestIdReused => ErrorReason::RequestIdReused,
            Self::Quota { .. } => ErrorReason::QuotaExceeded,
            Self::Store(store::Error::Full { .. }) | Self::Overloaded => ErrorReason::Overloaded,
            Self::ShuttingDown => ErrorReason::ShuttingDown,
            Self::Internal => ErrorReason::Internal,
        }
    }
}

/// The reason of what went wrong at Easemob.
pub fn reason_of(kind: Kind) -> ErrorReason {
    match kind {
        Kind::InvalidRequest => ErrorReason::InvalidRequest,
        Kind::MessageTooLarge => ErrorReason::MessageTooLarge,
        Kind::TokenRefused | Kind::CredentialsRejected | Kind::CredentialsMissing => {
            ErrorReason::EasemobCredentialsRejected
        }
        Kind::QuotaExceeded => ErrorReason::QuotaExceeded,
        Kind::PlanLimitReached => ErrorReason::PlanLimitReached,
        Kind::FeatureNotEnabled => ErrorReason::FeatureNotEnabled,
        Kind::AppNotFound => ErrorReason::EasemobAppNotFound,
        Kind::Refused => ErrorReason::EasemobRefused,
        Kind::Unreachable => ErrorReason::EasemobUnreachable,
        Kind::Busy => ErrorReason::EasemobBusy,
        Kind::FileTooLarge => ErrorReason::FileTooLarge,
        Kind::FileNotFound => ErrorReason::FileNotFound,
        Kind::FileExpired => ErrorReason::FileExpired,
        Kind::UploadInterrupted => ErrorReason::UploadInterrupted,
        Kind::OutcomeUnknown => ErrorReason::OutcomeUnknown,
    }
}
