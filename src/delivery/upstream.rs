//! What all shards share of one app's way to Easemob: its tokens, its quotas, and how it fares.

use std::sync::Arc;

use opentelemetry::KeyValue;
use tokio::runtime::Handle;

use super::{Config, breaker::Breaker, pause::Pauses, retry::Budget};
use crate::{
    app::App,
    easemob::Tokens,
    metrics::{Gauge, Gauges},
    quota::{CallerUse, Kind, Quotas, Shared, Use},
};

/// One app's way to Easemob, as far as all shards share it.
#[derive(Debug)]
pub struct Upstream {
    pub(super) app: Arc<App>,
    pub(super) tokens: Arc<Tokens>,
    pub(super) budget: Budget,
    pub(super) breaker: Breaker,
    pub(super) pauses: Pauses,
    pub(super) quotas: Arc<Quotas>,
}

impl Upstream {
    /// For an app, with its tokens, to be used by so many shards. Its time is kept on `runtime`, which must not
    /// be a shard's. `shared`: the way to the replicas that share its quotas.
    pub fn new(
        app: Arc<App>,
        tokens: Arc<Tokens>,
        (config, shards): (&Config, usize),
        runtime: &Handle,
        shared: Option<&Shared>,
        gauges: &Gauges,
    ) -> Arc<Self> {
        let most = config.admitted(shards);
        let quotas = Arc::new(match shared {
            Some(shared) => Quotas::shared(&app.quota, most, runtime, shared),
            None => Quotas::new(&app.quota, most, runtime),
        });
        observe(&quotas, &app.name, config.queue, gauges);
        Arc::new(Self {
            quotas,
            app,
            tokens,
            budget: Budget::new(),
            breaker: Breaker::default(),
            pauses: Pauses::default(),
        })
    }

    /// The app.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Its tokens.
    pub fn tokens(&self) -> &Arc<Tokens> {
        &self.tokens
    }
}

/// Has metrics tell how much of each quota is used, and how many wait for it.
#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn observe(quotas: &Arc<Quotas>, app: &str, queue: usize, gauges: &Gauges) {
    let app = KeyValue::new("app", app.to_owned());
    let all = Arc::downgrade(quotas);
    gauges.observe_places(
        (Gauge::QueueActive, Gauge::QueueLimit),
        std::slice::from_ref(&app),
        queue,
        move || {
            let Some(quotas) = all.upgrade() else {
                return 0;
            };
            Kind::ALL
                .map(|kind| quotas.usage(kind).waiting)
                .iter()
                .sum()
        },
    );
    for kind in Kind::ALL {
        let attributes = [app.clone(), KeyValue::new("kind", kind.name())];
        let usage = |read: fn(Use) -> u64| {
            let quotas = Arc::downgrade(quotas);
            move || Some(read(quotas.upgrade()?.usage(kind)) as f64)
        };
        gauges.observe(Gauge::QuotaUsed, &attributes, usage(|usage| usage.used));
        let left = usage(|usage| usage.limit.saturating_sub(usage.used));
        let is_on = quotas.usage(kind).limit > 0;
        gauges.observe(Gauge::QuotaLeft, &attributes, move || {
            left().filter(|_| is_on)
        });
        for (gauge, read) in [
            (
                Gauge::QuotaCallerUsed,
                (|of| of.used) as fn(&CallerUse) -> u64,
            ),
            (Gauge::QuotaCallerWaiting, |of| of.waiting),
        ] {
            let quotas = Arc::downgrade(quotas);
            gauges.observe_each(gauge, &attributes, move |tell| {
                let callers = quotas.upgrade().map(|quotas| quotas.callers(kind));
                for of in callers.into_iter().flatten() {
                    let caller = KeyValue::new("caller", Arc::clone(&of.caller));
                    tell(&[caller], read(&of) as f64);
                }
            });
        }
        gauges.observe(Gauge::QuotaLimit, &attributes, usage(|usage| usage.limit));
        let waiting = usage(|usage| usage.waiting as u64);
        gauges.observe(Gauge::QuotaWaiting, &attributes, waiting);
    }
}
