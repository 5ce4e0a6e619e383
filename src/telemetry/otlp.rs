//! Export of spans by OTLP (protobuf over HTTP), configured by the `OTEL_…` variables of the OpenTelemetry specification.
//! The library reads those for sampling, batching, headers, compression and the resource; this file reads those that
//! decide whether to export.

use crate::http::client;
use crate::http::tls::{self, TlsError};
use crate::http::trace;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, Tracer};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tracing::{Metadata, Subscriber};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

/// Why spans are not exported although an endpoint is set.
#[derive(Debug, thiserror::Error)]
pub(super) enum OtlpError {
    /// A variable with an unsupported value: name, value, supported values.
    #[error("{0} is '{1}': use {2}")]
    Variable(&'static str, String, &'static str),
    #[error("OTEL_EXPORTER_OTLP_CERTIFICATE: {0}")]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Exporter(#[from] ExporterBuildError),
}

/// The span exporter.
#[derive(Debug)]
pub(super) struct Otlp {
    provider: SdkTracerProvider,
}

/// A variable that is set and not blank.
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// The name and the value of the variable for traces, or else of the one for all signals.
fn traces_variable(traces: &'static str, all: &'static str) -> Option<(&'static str, String)> {
    [traces, all].into_iter().find_map(|name| Some((name, variable(name)?)))
}

/// Whether the environment sets an endpoint and does not disable it.
fn is_enabled() -> Result<bool, OtlpError> {
    let endpoint = traces_variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT");
    let disabled = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.trim().eq_ignore_ascii_case("true"));
    if endpoint.is_none() || disabled {
        return Ok(false);
    }
    match variable("OTEL_TRACES_EXPORTER").as_deref().map(str::trim) {
        None | Some("otlp") => {}
        Some("none") => return Ok(false),
        Some(other) => return Err(OtlpError::Variable("OTEL_TRACES_EXPORTER", other.into(), "otlp or none")),
    }
    match traces_variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL") {
        Some((name, value)) if value.trim() != "http/protobuf" => {
            Err(OtlpError::Variable(name, value, "http/protobuf, whose endpoint most often has port 4318"))
        }
        _ => Ok(true),
    }
}

impl Otlp {
    /// The exporter that the environment configures, if any.
    pub(super) fn from_environment() -> Result<Option<Otlp>, OtlpError> {
        if !is_enabled()? {
            return Ok(None);
        }
        let ca = traces_variable("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", "OTEL_EXPORTER_OTLP_CERTIFICATE");
        let roots = ca.map(|(_, path)| tls::read_certificates(path.as_ref())).transpose()?.unwrap_or_default();
        let client = client::HttpClient::new(&roots, TIMEOUT, 1)?;
        let sender = Sender { client, runtime: Handle::current(), failing: AtomicBool::new(false) };
        let exporter =
            SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary).with_http_client(sender).build()?;
        let provider = SdkTracerProvider::builder().with_resource(resource()).with_batch_exporter(exporter).build();
        trace::enable_export();
        Ok(Some(Otlp { provider }))
    }

    /// The layer that records our spans, and the log events in them, at info and above.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let layer: OpenTelemetryLayer<S, Tracer> = tracing_opentelemetry::layer()
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_tracer(self.provider.tracer("greenroom"));
        let is_ours = |metadata: &Metadata<'_>| {
            metadata.target().starts_with("greenroom") && *metadata.level() <= tracing::Level::INFO
        };
        layer.with_filter(filter_fn(is_ours))
    }

    /// Exports the spans that wait. Blocks.
    pub(super) fn stop(&self) -> OTelSdkResult {
        self.provider.shutdown()
    }
}

/// The resource of the spans; the environment can override the name of the service.
fn resource() -> Resource {
    let configured = Resource::builder().build();
    let name = configured.get(&"service.name".into()).map(|name| name.to_string()).unwrap_or_default();
    let is_named = !name.is_empty() && !name.starts_with("unknown_service");
    let resource = Resource::builder().with_attribute(trace::attribute("service.version", env!("CARGO_PKG_VERSION")));
    if is_named { resource.build() } else { resource.with_service_name("greenroom").build() }
}

/// Time limit of an export.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Maximum bytes of the response to an export.
const MAX_RESPONSE_BYTES: usize = 1 << 20;

/// The HTTP client of the exporter, whose thread has no runtime: requests run on the server's.
#[derive(Debug)]
struct Sender {
    client: client::HttpClient,
    runtime: Handle,
    failing: AtomicBool,
}

#[async_trait::async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (client, url) = (self.client.clone(), request.uri().clone());
        let response = self.runtime.spawn(async move { client.send(request, MAX_RESPONSE_BYTES).await }).await?;
        let problem = match &response {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("{url} answers {}", response.status())),
            Err(error) => Some(error.to_string()),
        };
        // Logged once until it changes.
        match (self.failing.swap(problem.is_some(), Ordering::Relaxed), problem) {
            (false, Some(problem)) => tracing::warn!(reason = problem, "span export failed"),
            (true, None) => tracing::info!("span export recovered"),
            _ => {}
        }
        let (head, body) = response?.into_parts();
        Ok(Response::from_parts(head, body?))
    }
}
