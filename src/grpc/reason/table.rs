//! The rows: for each reason its code, its state, and what to say about it, in two languages.

use tonic::Code;

use super::{Row, Words};
use crate::proto::{ErrorReason, SendState};

const fn not_sent(reason: ErrorReason, code: Code, english: Words, chinese: Words) -> Row {
    Row {
        reason,
        code,
        state: SendState::NotSent,
        english,
        chinese,
    }
}

const fn words(cause: &'static str, advice: &'static str) -> Words {
    Words { cause, advice }
}

/// Every reason. UNAVAILABLE and the other codes that clients and meshes repeat by themselves belong
/// to rows where nothing was sent, and to no other.
pub const TABLE: &[Row] = &[
    not_sent(
        ErrorReason::InvalidRequest,
        Code::InvalidArgument,
        words(
            "A field is missing, has a value that it cannot have, or goes with another that it cannot go with; or there is no such method. `BadRequest` names each field.",
            "Nothing was sent: correct the request.",
        ),
        words(
            "字段缺失、取值不合法或彼此冲突，或者没有这个方法。`BadRequest` 列出每个有误的字段。",
            "未发送：请修正请求。",
        ),
    ),
    not_sent(
        ErrorReason::MessageTooLarge,
        Code::InvalidArgument,
        words(
            "Content and extension exceed the app's `content_bytes`, or the request exceeds what the gateway reads (then `RESOURCE_EXHAUSTED`).",
            "Nothing was sent: make the content or the extension smaller.",
        ),
        words(
            "消息内容加扩展超过应用的 `content_bytes`，或者整个请求超过网关的读取上限（此时状态码为 `RESOURCE_EXHAUSTED`）。",
            "未发送：请缩小消息内容或扩展。",
        ),
    ),
    not_sent(
        ErrorReason::FileTooLarge,
        Code::InvalidArgument,
        words(
            "The file exceeds the app's `upload_bytes`, by its declared size or by what arrived.",
            "Nothing was sent: make the file smaller, or have the app's limit raised.",
        ),
        words(
            "文件的声明大小或实际大小超过应用的 `upload_bytes`。",
            "未发送：请缩小文件，或请运维人员提高应用的上限。",
        ),
    ),
    not_sent(
        ErrorReason::StreamOutOfOrder,
        Code::InvalidArgument,
        words(
            "A chunk before the header, a second header, a part after finish, or an empty part.",
            "Nothing was sent: send header, chunks and finish in this order.",
        ),
        words(
            "数据块先于 header、header 重复、finish 之后还有内容，或者出现空的部分。",
            "未发送：请依次发送 header、数据块和 finish。",
        ),
    ),
    not_sent(
        ErrorReason::UploadIncomplete,
        Code::Aborted,
        words(
            "The client went away, forgot finish, or sent nothing for `upload_idle_timeout`.",
            "Nothing was sent: upload again, up to finish.",
        ),
        words(
            "客户端断开、没有发送 finish，或者停顿超过 `upload_idle_timeout`。",
            "未发送：请重新上传，直到 finish。",
        ),
    ),
    not_sent(
        ErrorReason::ChecksumMismatch,
        Code::DataLoss,
        words(
            "The file changed while it was read, or the size or SHA-256 was computed over other bytes.",
            "Nothing was sent: the bytes that arrived are not those that were declared; upload again.",
        ),
        words(
            "读取期间文件发生变化，或者大小、SHA-256 是按别的内容计算的。",
            "未发送：收到的数据与声明的不一致，请重新上传。",
        ),
    ),
    not_sent(
        ErrorReason::FileNotFound,
        Code::NotFound,
        words(
            "A wrong uuid, or the file belongs to another app.",
            "Check the file's uuid and the app.",
        ),
        words(
            "uuid 有误，或者文件属于另一个应用。",
            "请检查文件的 uuid 和应用。",
        ),
    ),
    not_sent(
        ErrorReason::FileExpired,
        Code::NotFound,
        words(
            "Easemob keeps files for a limited time, by the app's edition.",
            "Upload the file again.",
        ),
        words(
            "环信只在一定期限内保存文件，期限取决于应用的版本。",
            "请重新上传文件。",
        ),
    ),
    not_sent(
        ErrorReason::CallerUnauthenticated,
        Code::Unauthenticated,
        words(
            "No key in the metadata, a key that was taken off the list, or a certificate that names no known caller.",
            "Nothing was sent: prove who you are with the credentials that the gateway's operator gave you.",
        ),
        words(
            "元数据中没有密钥、密钥已被移除，或者证书不对应任何已知的调用方。",
            "未发送：请使用网关运维人员发放的凭证证明身份。",
        ),
    ),
    not_sent(
        ErrorReason::AppForbidden,
        Code::PermissionDenied,
        words(
            "The app is not in the caller's list, or its name is misspelled: the gateway does not say which.",
            "Nothing was sent: ask the gateway's operator for leave to use this app, or correct its name.",
        ),
        words(
            "应用不在调用方的许可列表中，或者名称写错：网关不透露是哪一种。",
            "未发送：请向网关运维人员申请该应用的权限，或改正名称。",
        ),
    ),
    not_sent(
        ErrorReason::AppNotConfigured,
        Code::NotFound,
        words(
            "The app's name is misspelled, or the gateway's settings lack it.",
            "Nothing was sent: correct the app's name, or have the gateway's operator configure it.",
        ),
        words(
            "应用名称写错，或者网关的配置中没有它。",
            "未发送：请改正应用名称，或请网关运维人员添加配置。",
        ),
    ),
    not_sent(
        ErrorReason::RequestIdReused,
        Code::FailedPrecondition,
        words(
            "Two different messages got the same `request_id`: mostly a constant, or an ID that is not made anew for each message.",
            "Nothing was sent: use a new request ID for another request.",
        ),
        words(
            "两条不同的消息用了同一个 `request_id`：通常是写成了常量，或没有为每条消息重新生成。",
            "未发送：不同的请求请使用新的请求 ID。",
        ),
    ),
    not_sent(
        ErrorReason::QuotaExceeded,
        Code::ResourceExhausted,
        words(
            "The app sends more calls or messages than its Easemob quota allows.",
            "Nothing was sent: send again after the time in RetryInfo.",
        ),
        words(
            "应用的调用或消息数超过了环信的配额。",
            "未发送：请等待 RetryInfo 给出的时间后重发。",
        ),
    ),
    not_sent(
        ErrorReason::PlanLimitReached,
        Code::ResourceExhausted,
        words(
            "The app has used up what its Easemob edition includes, such as daily active users.",
            "Nothing was sent, and waiting does not help: the app's Easemob edition is used up.",
        ),
        words(
            "应用已用完环信版本所含的额度，例如日活用户数。",
            "未发送，等待也无济于事：应用的环信版本额度已用完。",
        ),
    ),
    not_sent(
        ErrorReason::Overloaded,
        Code::ResourceExhausted,
        words(
            "More requests at once than the gateway's or the app's bounds, or no room for another `request_id`.",
            "Nothing was sent: send again after the time in RetryInfo.",
        ),
        words(
            "并发请求超过网关或应用的上限，或者没有空间记录新的 `request_id`。",
            "未发送：请等待 RetryInfo 给出的时间后重发。",
        ),
    ),
    not_sent(
        ErrorReason::ShuttingDown,
        Code::Unavailable,
        words(
            "The replica is being replaced or stopped.",
            "Nothing was sent: send again, to another replica.",
        ),
        words("该副本正在被替换或停止。", "未发送：请重发到另一个副本。"),
    ),
    not_sent(
        ErrorReason::StoreUnavailable,
        Code::Unavailable,
        words(
            "The gateway cannot reach the shared store (Redis), and the request has a `request_id`.",
            "Nothing was sent: send again after the time in RetryInfo.",
        ),
        words(
            "网关连不上共享存储（Redis），而请求带有 `request_id`。",
            "未发送：请等待 RetryInfo 给出的时间后重发。",
        ),
    ),
    not_sent(
        ErrorReason::DeadlineExceeded,
        Code::DeadlineExceeded,
        words(
            "The deadline was too short for the wait, or it had passed when the request arrived.",
            "Nothing was sent: send again, with more time.",
        ),
        words(
            "截止时间太短，或者请求到达时已经超时。",
            "未发送：请放宽截止时间后重发。",
        ),
    ),
    not_sent(
        ErrorReason::EasemobCredentialsRejected,
        Code::FailedPrecondition,
        words(
            "The client ID or secret is wrong or was changed in the console, or its file cannot be read.",
            "Nothing was sent: the gateway's operator has to correct the app's credentials.",
        ),
        words(
            "client ID 或 client secret 有误、已在控制台更换，或者密钥文件无法读取。",
            "未发送：请网关运维人员修正应用的凭证。",
        ),
    ),
    not_sent(
        ErrorReason::EasemobAppNotFound,
        Code::FailedPrecondition,
        words(
            "`org_name`, `app_name` or the REST host in the gateway's settings is not the app's.",
            "Nothing was sent: the gateway's operator has to correct the app's host, org_name or app_name.",
        ),
        words(
            "网关配置中的 `org_name`、`app_name` 或 REST 域名与应用不符。",
            "未发送：请网关运维人员修正应用的域名、org_name 或 app_name。",
        ),
    ),
    not_sent(
        ErrorReason::FeatureNotEnabled,
        Code::FailedPrecondition,
        words(
            "The app has not been given this feature, such as messages to chat rooms.",
            "Nothing was sent: have the feature enabled for the app in the Easemob console.",
        ),
        words(
            "应用没有开通该功能，例如聊天室消息。",
            "未发送：请在环信控制台为应用开通该功能。",
        ),
    ),
    not_sent(
        ErrorReason::EasemobRefused,
        Code::FailedPrecondition,
        words(
            "Easemob answered with a 4xx that has no row of its own: `easemob_error` tells its words.",
            "Nothing was sent: a repeat gives the same answer until its cause is removed.",
        ),
        words(
            "环信以未单独列出的 4xx 拒绝：原文见 `easemob_error`。",
            "未发送：原因消除之前，重试会得到同样的结果。",
        ),
    ),
    not_sent(
        ErrorReason::EasemobUnreachable,
        Code::Unavailable,
        words(
            "DNS, the network, TLS or a proxy between the gateway and Easemob, or no token could be had.",
            "Nothing was sent: send again after the time in RetryInfo.",
        ),
        words(
            "网关与环信之间的 DNS、网络、TLS 或代理有问题，或者取不到 token。",
            "未发送：请等待 RetryInfo 给出的时间后重发。",
        ),
    ),
    not_sent(
        ErrorReason::EasemobBusy,
        Code::Unavailable,
        words(
            "Easemob answered 503, and the app's settings say that it then sends nothing.",
            "Nothing was sent: send again after the time in RetryInfo.",
        ),
        words(
            "环信返回 503，而应用的配置说明此时环信不会发送。",
            "未发送：请等待 RetryInfo 给出的时间后重发。",
        ),
    ),
    Row {
        reason: ErrorReason::OutcomeUnknown,
        code: Code::Unknown,
        state: SendState::MaybeSent,
        english: words(
            "A timeout, a broken connection, a 5xx or an unreadable answer after the request had gone out.",
            "The message may have been sent: a repeat may be read twice.",
        ),
        chinese: words(
            "请求发出之后超时、连接中断、返回 5xx 或响应无法解析。",
            "消息可能已经发送：重发可能让收件人看到两次。",
        ),
    },
    not_sent(
        ErrorReason::UploadInterrupted,
        Code::Unavailable,
        words(
            "Easemob closed the connection, failed or stalled during the upload.",
            "No message was sent: upload again.",
        ),
        words(
            "上传期间环信断开连接、出错或停滞。",
            "消息未发送：请重新上传。",
        ),
    ),
    not_sent(
        ErrorReason::Internal,
        Code::Internal,
        words(
            "A fault of the gateway; its log has more, under the trace ID of the call.",
            "Nothing was sent: tell the gateway's operator.",
        ),
        words(
            "网关自身的故障；日志中可按调用的 trace ID 查到详情。",
            "未发送：请告知网关运维人员。",
        ),
    ),
];
