//! What the server tells of itself.

use clap::Args;
use std::net::SocketAddr;

/// What the server tells of itself. Logs and traces are chosen by the usual variables: RUST_LOG, OTEL_….
#[derive(Clone, Debug, Args)]
pub struct TelemetryArgs {
    /// Whether figures for Prometheus are served: auto (at /metrics of --listen while that is a loopback address, or at --metrics-listen), on (on whatever address) or off
    #[arg(long, env = "GREENROOM_METRICS", default_value = "auto", value_name = "WHETHER")]
    pub metrics: Figures,
    /// Address to serve /metrics at instead of --listen, over plain HTTP, for whoever reaches it
    #[arg(long, env = "GREENROOM_METRICS_LISTEN", value_name = "ADDRESS", value_parser = super::parse::address)]
    pub metrics_listen: Option<SocketAddr>,
}

/// Whether figures are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Figures {
    /// Where only this machine, or whoever the operator chose, sees them.
    Auto,
    /// In any case.
    On,
    /// Nowhere; nothing is counted.
    Off,
}

/// Where figures are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// Nowhere.
    Nowhere,
    /// With the API.
    WithApi,
    /// On an address of their own.
    At(SocketAddr),
}

impl TelemetryArgs {
    /// Where figures are served by a server that listens on `api`, perhaps behind a proxy.
    pub fn served(&self, api: SocketAddr, proxied: bool) -> Served {
        match (self.metrics, self.metrics_listen) {
            (Figures::Off, _) => Served::Nowhere,
            (_, Some(address)) => Served::At(address),
            (Figures::On, None) => Served::WithApi,
            // Behind a proxy on this machine, strangers come from a loopback address too.
            (Figures::Auto, None) if api.ip().is_loopback() && !proxied => Served::WithApi,
            (Figures::Auto, None) => Served::Nowhere,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_shown_to_strangers_only_on_request() {
        let own: SocketAddr = "0.0.0.0:9464".parse().unwrap();
        let served = |metrics, metrics_listen, api: &str, proxied| {
            TelemetryArgs { metrics, metrics_listen }.served(api.parse().unwrap(), proxied)
        };
        assert_eq!(served(Figures::Auto, None, "127.0.0.1:4600", false), Served::WithApi);
        assert_eq!(served(Figures::Auto, None, "[::1]:4600", false), Served::WithApi);
        assert_eq!(served(Figures::Auto, None, "127.0.0.1:4600", true), Served::Nowhere);
        assert_eq!(served(Figures::Auto, None, "0.0.0.0:4600", false), Served::Nowhere);
        assert_eq!(served(Figures::On, None, "0.0.0.0:4600", true), Served::WithApi);
        assert_eq!(served(Figures::Auto, Some(own), "127.0.0.1:4600", false), Served::At(own));
        assert_eq!(served(Figures::Off, Some(own), "127.0.0.1:4600", false), Served::Nowhere);
    }
}
