//! Settings of metrics. Logs and traces use the usual variables: `RUST_LOG`, `OTEL_…`.

use super::group;
use clap::Args;
use std::net::SocketAddr;

/// Settings of metrics.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = group::TELEMETRY)]
pub struct TelemetryArgs {
    /// Prometheus metrics: auto, on or off
    ///
    /// auto serves them at --metrics-listen, or else at /metrics of --listen if that is a loopback address without a proxy
    /// in front (--public-url, --trusted-proxies). on serves them at /metrics of any address.
    #[arg(long, env = "GREENROOM_METRICS", default_value = "auto", value_name = "MODE")]
    pub metrics: MetricsMode,
    /// Address for /metrics instead of --listen: plain HTTP, without authentication
    #[arg(long, env = "GREENROOM_METRICS_LISTEN", value_name = "ADDRESS", value_parser = super::address)]
    pub metrics_listen: Option<SocketAddr>,
}

/// Whether metrics are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum MetricsMode {
    /// Where only this machine, or the clients of `--metrics-listen`, can read them.
    Auto,
    /// At any address.
    On,
    /// Nowhere; nothing is measured.
    Off,
}

/// Where metrics are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// Nowhere.
    Nowhere,
    /// With the API.
    WithApi,
    /// At an address of their own.
    At(SocketAddr),
}

impl TelemetryArgs {
    /// Where metrics are served, by a server that listens on `api`; `proxied` is whether a proxy is in front of it.
    pub fn served(&self, api: SocketAddr, proxied: bool) -> Served {
        match (self.metrics, self.metrics_listen) {
            (MetricsMode::Off, _) => Served::Nowhere,
            (_, Some(address)) => Served::At(address),
            (MetricsMode::On, None) => Served::WithApi,
            // Behind a proxy on this machine, other machines connect from a loopback address too.
            (MetricsMode::Auto, None) if api.ip().is_loopback() && !proxied => Served::WithApi,
            (MetricsMode::Auto, None) => Served::Nowhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_served_to_other_machines_only_on_request() {
        let own: SocketAddr = "0.0.0.0:9464".parse().unwrap();
        let served = |metrics, metrics_listen, api: &str, proxied| {
            TelemetryArgs { metrics, metrics_listen }.served(api.parse().unwrap(), proxied)
        };
        assert_eq!(served(MetricsMode::Auto, None, "127.0.0.1:4600", false), Served::WithApi);
        assert_eq!(served(MetricsMode::Auto, None, "[::1]:4600", false), Served::WithApi);
        assert_eq!(served(MetricsMode::Auto, None, "127.0.0.1:4600", true), Served::Nowhere);
        assert_eq!(served(MetricsMode::Auto, None, "0.0.0.0:4600", false), Served::Nowhere);
        assert_eq!(served(MetricsMode::On, None, "0.0.0.0:4600", true), Served::WithApi);
        assert_eq!(served(MetricsMode::Auto, Some(own), "127.0.0.1:4600", false), Served::At(own));
        assert_eq!(served(MetricsMode::Off, Some(own), "127.0.0.1:4600", false), Served::Nowhere);
    }
}
