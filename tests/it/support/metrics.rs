//! A page of metrics, as Prometheus reads it.

use std::collections::{BTreeMap, BTreeSet};

use super::{gateway::TestGateway, soon};

/// The series of one page, each with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Page(pub BTreeMap<String, f64>);

impl Page {
    /// As it is now.
    pub async fn of(gateway: &TestGateway) -> Self {
        Self::parse(&gateway.metrics().await)
    }

    /// Asks until it shows something.
    pub async fn until(gateway: &TestGateway, what: &str, shows: impl Fn(&Self) -> bool) -> Self {
        soon(what, async {
            loop {
                let page = Self::of(gateway).await;
                if shows(&page) {
                    return page;
                }
            }
        })
        .await
    }

    pub fn parse(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let series = lines.map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a series and its value");
            (series.to_owned(), value.parse().expect("a number"))
        });
        Self(series.collect())
    }

    /// Which series there are.
    pub fn series(&self) -> BTreeSet<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    /// The sum of a metric's series that have all these labels; none if there is no such series.
    pub fn get(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let found = self.0.iter().filter(|(series, _)| {
            let (own, own_labels) = series.split_once('{').unwrap_or((series, ""));
            own == name
                && labels.iter().all(|(label, value)| {
                    let wanted = format!("{label}=\"{value}\"");
                    let at = own_labels.find(&wanted);
                    at.is_some_and(|at| at == 0 || own_labels.as_bytes()[at - 1] == b',')
                })
        });
        found.map(|(_, value)| *value).reduce(|a, b| a + b)
    }

    /// The same, where nothing counts as 0.
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.get(name, labels).unwrap_or(0.0)
    }
}
