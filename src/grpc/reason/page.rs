//! The pages on errors, `docs/errors.md` and `docs/errors.zh-CN.md`, as the table has them.

use std::{env, fs, path::Path};

use super::*;
use crate::grpc::status::code_name;

const ENGLISH: Page = Page {
    language: Language::English,
    path: "docs/errors.md",
    head: "\
# Errors

Every reason that a `google.rpc.ErrorInfo` of the domain `easemob-gateway` can have, from the table in the code that the statuses are made
from. How to read the details in your language is in [clients.md](clients.md), what the gateway promises of a send in
[delivery.md](delivery.md). [中文](errors.zh-CN.md)

- **Send state**: `NOT_SENT` is proven, so a repeat makes no duplicate. `MAYBE_SENT`: a repeat may be read twice. Both stand in
  `metadata[\"send_state\"]` of methods that send.
- `RetryInfo` tells how long to wait, where waiting helps. `BadRequest` names every wrong field. `UploadedMedia` tells what need not be
  uploaded again. `Help` links to this page, and a `LocalizedMessage` comes where `accept-language` asks for Chinese.
- **An error without `ErrorInfo`** was made on the way: by the client's own timer, a proxy, or a connection that broke. Take it as
  `MAYBE_SENT`. So it is with headers over the gateway's limit (HTTP 431, which clients show as `UNKNOWN`) and with streams that HTTP/2
  refuses (`REFUSED_STREAM`, which clients repeat by themselves: no handler has seen them).
",
    columns: "| reason | code | send state | who can mend it |",
    cause: "Likely cause",
    advice: "What to do",
    faults: ["the caller", "the operator", "the gateway", "Easemob"],
    colon: ": ",
};

const CHINESE: Page = Page {
    language: Language::Chinese,
    path: "docs/errors.zh-CN.md",
    head: "\
# 错误

`google.rpc.ErrorInfo`（domain 为 `easemob-gateway`）可能出现的全部 reason，由代码中生成状态的同一张表生成。各语言如何读取错误详情见
[clients.zh-CN.md](clients.zh-CN.md)，网关对发送的承诺见 [delivery.zh-CN.md](delivery.zh-CN.md)。[English](errors.md)

- **发送状态**：`NOT_SENT` 表示确定没有发送，重发不会产生重复消息；`MAYBE_SENT` 表示可能已发送，重发可能让收件人看到两次。发送类方法的
  `metadata[\"send_state\"]` 中给出这一状态。
- 等待有用时，`RetryInfo` 给出需要等待的时间；`BadRequest` 列出每个有误的字段；`UploadedMedia` 说明哪些文件不必重新上传；`Help`
  链接到本页；`accept-language` 要求中文时，附带一条 `LocalizedMessage`。
- **没有 `ErrorInfo` 的错误**产生于途中：客户端自己的计时器、代理，或中断的连接。请按 `MAYBE_SENT` 处理。请求头超过网关上限（HTTP 431，客户端显示为
  `UNKNOWN`），以及被 HTTP/2 拒绝的流（`REFUSED_STREAM`，客户端会自动重试，请求并未被处理）也属于此类。
",
    columns: "| reason | 状态码 | 发送状态 | 由谁解决 |",
    cause: "可能的原因",
    advice: "处理办法",
    faults: ["调用方", "运维人员", "网关", "环信"],
    colon: "：",
};

struct Page {
    language: Language,
    path: &'static str,
    head: &'static str,
    columns: &'static str,
    cause: &'static str,
    advice: &'static str,
    faults: [&'static str; 4],
    colon: &'static str,
}

impl Page {
    fn text(&self) -> String {
        let mut text = format!(
            "{}\n{}\n| --- | --- | --- | --- |\n",
            self.head, self.columns
        );
        for row in TABLE {
            let name = name(row.reason);
            text += &format!(
                "| [`{name}`](#{}) | {} |\n",
                name.to_lowercase(),
                self.facts(row)
            );
        }
        for row in TABLE {
            let words = row.words(self.language);
            let colon = self.colon;
            text += &format!("\n### {}\n\n", name(row.reason));
            text += &format!("- **{}**{colon}{}\n", self.cause, words.cause);
            text += &format!("- **{}**{colon}{}\n", self.advice, words.advice);
        }
        text
    }

    fn facts(&self, row: &Row) -> String {
        let state = match row.state {
            SendState::MaybeSent => "MAYBE_SENT",
            _ => "NOT_SENT",
        };
        let [caller, operator, gateway, easemob] = self.faults;
        let who = match Fault::of(row.reason) {
            Fault::Caller => caller,
            Fault::Operator => operator,
            Fault::Gateway => gateway,
            Fault::Easemob => easemob,
        };
        format!("`{}` | `{state}` | {who}", code_name(row.code))
    }
}

#[test]
fn the_pages_on_errors_are_current() {
    for page in [ENGLISH, CHINESE] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page.path);
        if env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&path, page.text()).unwrap();
        }
        let there = fs::read_to_string(&path).unwrap_or_default();
        let path = path.display();
        assert!(
            there == page.text(),
            "{path} is outdated: run the tests once with UPDATE_DOCS=1"
        );
    }
}

#[test]
fn a_help_link_names_a_heading_of_its_page() {
    for page in [ENGLISH, CHINESE] {
        for row in TABLE {
            let help = row.help(page.language);
            let (path, anchor) = help.split_once('#').unwrap();
            assert_eq!(path, page.path);
            let heading = format!("\n### {}\n", anchor.to_uppercase());
            assert_eq!(page.text().matches(&heading).count(), 1, "{help}");
        }
    }
}
