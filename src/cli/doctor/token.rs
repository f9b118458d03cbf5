//! One token, fetched and thrown away: whether Easemob knows the app and its credentials, and what time
//! it is there.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::timeout;

use super::{
    finding::{Check, Fault, Finding},
    way::STEP,
};
use crate::{
    app::{App, Credentials},
    easemob::{self, Error, Kind, Probe},
    metrics::Metrics,
};

/// A clock that is off by more is worth a warning, and by much more a problem: certificates and signed
/// tokens go by it.
const SKEW: Duration = Duration::from_secs(30);
const LARGE_SKEW: Duration = Duration::from_secs(300);

/// What is tried, in words.
pub(super) fn tried(app: &App) -> String {
    let url = &app.base_url;
    match app.credentials {
        Credentials::Easemob { .. } => format!("to fetch a token at {url}/token"),
        Credentials::Agora { .. } => {
            format!("to exchange a token made of App ID and App Certificate at {url}/token")
        }
    }
}

pub(super) async fn check(
    app: &Arc<App>,
    subject: &str,
    metrics: &Metrics,
    found: &mut Vec<Finding>,
) {
    let check = Check::new(subject, "credentials", tried(app));
    // The app's own limit may be longer than anybody waits here.
    let probe = timeout(STEP * 2, easemob::probe(app, &metrics.calls));
    let probe = match probe.await {
        Ok(Ok(probe)) => probe,
        Err(_late) => {
            let seconds = (STEP * 2).as_secs();
            return found.push(check.problem(
                format!("no answer within {seconds} s"),
                Fault::OtherSide,
                "try again in a minute; if it lasts, ask Easemob",
            ));
        }
        Ok(Err(error)) => {
            let change = format!("correct apps.{}", app.name);
            return found.push(check.problem(error.to_string(), Fault::Settings, change));
        }
    };
    let clock = clock(&probe, subject);
    found.push(match probe.outcome {
        Ok(Some(life)) => {
            let life = humantime::format_duration(Duration::from_secs(life.as_secs()));
            check.ok(format!(
                "Easemob knows the app, and gave a token for {life}"
            ))
        }
        Ok(None) => check.ok("Easemob knows the app, and gave a token"),
        Err(error) => refused(check, &error, app),
    });
    found.extend(clock);
}

fn refused(check: Check<'_>, error: &Error, app: &App) -> Finding {
    let name = &app.name;
    let answered = match &error.answer {
        None => error.what.clone(),
        Some(answer) => match &answer.error {
            Some(word) => format!("HTTP {}, {word}", answer.http_status),
            None => format!("HTTP {}", answer.http_status),
        },
    };
    match error.kind {
        Kind::AppNotFound => check.problem(
            format!("Easemob has no app of this org and name at this host ({answered})"),
            Fault::Settings,
            format!(
                "correct apps.{name}.org_name and app_name, the two halves of the App Key in the console; or base_url: a data \
                 centre knows its own apps alone"
            ),
        ),
        Kind::CredentialsRejected => {
            let (id, secret) = match &app.credentials {
                Credentials::Easemob { .. } => ("client_id", "client secret"),
                Credentials::Agora { .. } => ("app_id", "App Certificate"),
            };
            let setting = app.credentials.setting();
            check.problem(
                format!("Easemob knows the app and refuses {id} or {secret} ({answered})"),
                Fault::Settings,
                format!(
                    "compare apps.{name}.{id} and what {setting} names with the app's page in the console; a secret that was \
                     renewed there is of no use any more"
                ),
            )
        }
        Kind::QuotaExceeded => check.warning(
            format!("Easemob wants fewer requests for tokens ({answered})"),
            Fault::OtherSide,
            "wait a minute, and see who else fetches tokens with these credentials",
        ),
        Kind::Unreachable if error.answer.is_none() => check.problem(
            format!("no answer that can be used: {}", error.what),
            Fault::Network,
            format!("see whether apps.{name}.base_url is the REST API (http or https, host, port), and whether something on the way stops requests"),
        ),
        Kind::Unreachable => check.problem(
            format!("Easemob, or something before it, could not answer ({answered})"),
            Fault::OtherSide,
            "try again in a minute; if it lasts, ask Easemob",
        ),
        _ => check.problem(
            format!("what answers does not do so as Easemob's REST API does ({answered})"),
            Fault::Settings,
            format!("correct apps.{name}.base_url to the REST API of the app's data centre, as the console shows it"),
        ),
    }
}

/// How far our clock is from the one of whoever answered.
fn clock(probe: &Probe, subject: &str) -> Option<Finding> {
    let date = httpdate::parse_http_date(probe.date.as_ref()?.to_str().ok()?).ok()?;
    let check = Check::new(
        subject,
        "clock",
        "to compare the clock of this machine with the Date of Easemob's answer",
    );
    let now = SystemTime::now();
    let (skew, word) = match now.duration_since(date) {
        Ok(ahead) => (ahead, "ahead of"),
        Err(behind) => (behind.duration(), "behind"),
    };
    // A date is of whole seconds, and the answer took its time.
    if skew <= SKEW {
        return Some(check.ok(format!(
            "the clock of this machine is right, within {} s",
            SKEW.as_secs()
        )));
    }
    let skew_text = humantime::format_duration(Duration::from_secs(skew.as_secs()));
    let what = format!("the clock of this machine is {skew_text} {word} that of Easemob");
    let change = "set it by NTP: certificates and Agora's tokens are judged by it";
    Some(match skew > LARGE_SKEW {
        true => check.problem(what, Fault::Machine, change),
        false => check.warning(what, Fault::Machine, change),
    })
}
