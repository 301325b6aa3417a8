//! What other parts tell of is counted here. Each result's series is made before the first one and held: the first
//! failure is then an increase, which a rate sees, and no quiet hour takes a series away.

use std::sync::Arc;

use crate::enroll::manager::{OnVerified, Verified};
use crate::model::pod::Pod;
use crate::model::spiffe::Identity;
use crate::telemetry::metrics::{Metrics, table};

/// Counts attempts to get a certificate.
pub(super) fn renewals(metrics: &Metrics) -> Arc<dyn Fn(bool) + Send + Sync> {
    let [ok, failed] = ["ok", "failed"].map(|result| metrics.counter(table::CERTIFICATE_RENEWALS, [result]));
    Arc::new(move |renewed| if renewed { ok.increment() } else { failed.increment() })
}

/// Counts own certificates that are found on a revocation list.
pub(super) fn revoked(metrics: &Metrics) -> Arc<dyn Fn(&Identity) + Send + Sync> {
    let revoked = metrics.counter(table::CERTIFICATES_REVOKED, []);
    Arc::new(move |_| revoked.increment())
}

/// Counts what verifications of pods find.
pub(super) fn verifications(metrics: &Metrics) -> OnVerified {
    let [ok, healed, failed] =
        ["ok", "healed", "failed"].map(|result| metrics.counter(table::POD_VERIFICATIONS, [result]));
    Box::new(move |_: &Pod, result| match result {
        Ok(Verified::Same) => ok.increment(),
        Ok(Verified::Healed | Verified::Replaced) => healed.increment(),
        Ok(Verified::Mispaired) | Err(_) => failed.increment(),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::telemetry::metrics::{Config, Exposition};

    /// What a scraper sees: nothing is looked up, so nothing is made by the test itself.
    fn scraped(metrics: &Metrics, series: &str) -> Option<u64> {
        let text = metrics.render(Exposition::Prometheus);
        text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse().ok())
    }

    #[test]
    fn the_first_failure_is_an_increase() {
        let metrics = Metrics::new(Config { series_budget: 10 }, "1");
        let (renewals, _revoked, _verified) = (renewals(&metrics), revoked(&metrics), verifications(&metrics));
        let failed = "culvert_certificate_renewals_total{result=\"failed\"}";
        let every = [
            "culvert_certificate_renewals_total{result=\"ok\"}",
            failed,
            "culvert_pod_verifications_total{result=\"ok\"}",
            "culvert_pod_verifications_total{result=\"healed\"}",
            "culvert_pod_verifications_total{result=\"failed\"}",
        ];
        let start = tokio::time::Instant::now();
        for hours in [0, 1, 5] {
            metrics.sweep(start + Duration::from_secs(hours * 3600));
            for series in every {
                assert_eq!(scraped(&metrics, series), Some(0), "{series} after {hours} h");
            }
        }
        renewals(false);
        assert_eq!(scraped(&metrics, failed), Some(1));
    }
}
