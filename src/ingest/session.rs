//! The course of a connection, from the RTMP handshake to its end.

use super::connection::Connection;
use super::end::End;
use super::refusal::Refusal;
use super::{Admitted, Shared, publishing, software};
use crate::connections::EncoderEnd::Stopping;
use crate::connections::EncoderRequest;
use crate::model::ingest_configuration::IngestProtocol;
use greenroom_ingest::Statistics;
use greenroom_rtmp::{Event, PublishRequest};
use std::net::IpAddr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// The only application, as in AWS's endpoints.
const APPLICATION: &str = "app";

/// A connection that was accepted.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub address: IpAddr,
    pub protocol: IngestProtocol,
    /// Until when the encoder has to publish.
    pub deadline: Instant,
}

/// Serves a connection to its end, and logs that. Returns the reason.
pub async fn serve<S>(shared: &Shared, stream: S, peer: Peer, stop: &CancellationToken) -> End
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut connection = Connection::new(stream, shared.ids.entropy(), shared.settings.timeout);
    let setup = async {
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(End::Server(Stopping)),
            asked = timeout_at(peer.deadline, setup(&mut connection)) => asked.unwrap_or(Err(End::Timeout)),
        }
    };
    let end = match setup.await {
        // Boxed: connections that do not publish need no room for media.
        Ok(request) => Box::pin(publish(shared, &mut connection, &request, peer, stop)).await,
        Err(end) => {
            log_failure(shared, peer, &end);
            end
        }
    };
    if let Some((code, description)) = end.status() {
        connection.rtmp.refuse(code, &description);
    }
    match end {
        End::Closed(_) | End::Unread => {}
        // There is nothing that the encoder has to read.
        End::Timeout | End::Protocol(_) => connection.finish().await,
        _ => connection.linger().await,
    }
    end
}

/// Logs why a connection did not come to ask for a publication. Throttled, as other machines can cause any number of these.
pub fn log_failure(shared: &Shared, peer: Peer, end: &End) {
    let (reason, detail) = (end.reason().name(), end.detail());
    let (error, protocol, client) = (detail.as_deref(), peer.protocol.as_str(), peer.address);
    let is_failure = matches!(end, End::Timeout | End::Unread | End::Tls(_) | End::Protocol(_));
    if is_failure && shared.failure_is_logged() {
        tracing::info!(reason, error, protocol, %client, "encoder connection failed");
    } else {
        tracing::debug!(reason, error, protocol, %client, "encoder connection ended");
    }
}

/// Handshake and commands, until the encoder asks to publish.
async fn setup<S: AsyncRead + AsyncWrite + Unpin>(connection: &mut Connection<S>) -> Result<PublishRequest, End> {
    loop {
        let received = connection.receive().await;
        connection.flush().await?;
        received?;
        while let Some(event) = connection.rtmp.poll_event() {
            match event {
                Event::PublishRequested(request) => return Ok(request),
                Event::Unpublished => return Err(End::Unpublished),
                // The protocol keeps media until publishing is accepted.
                Event::Metadata(_) | Event::Audio { .. } | Event::Video { .. } => {}
            }
        }
    }
}

/// Admits the encoder, and publishes its media to the end.
async fn publish<S>(
    shared: &Shared,
    connection: &mut Connection<S>,
    request: &PublishRequest,
    peer: Peer,
    stop: &CancellationToken,
) -> End
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let Admitted { participant, stage, mut publication } = match admit(shared, request, peer.protocol).await {
        Ok(admitted) => admitted,
        Err(refusal) => {
            tracing::info!(
                reason = refusal.reason.name(),
                error = refusal.message,
                protocol = peer.protocol.as_str(),
                client = %peer.address,
                "encoder refused"
            );
            return End::Refused(refusal);
        }
    };
    let since = Instant::now();
    tracing::info!(
        participant.id = participant,
        stage.id = stage,
        protocol = peer.protocol.as_str(),
        encoder = software::shown(&request.flash_version),
        client = %peer.address,
        "encoder connected"
    );
    let (end, media) = match connection.rtmp.accept() {
        Ok(()) => publishing::run(shared, connection, publication.as_mut(), &participant, stop).await,
        Err(error) => (error.into(), Statistics::default()),
    };
    publication.close(end.event()).await;
    let (seconds, detail) = (since.elapsed().as_secs_f64(), end.detail());
    let (reason, error) = (end.reason().name(), detail.as_deref());
    tracing::info!(
        participant.id = participant,
        stage.id = stage,
        reason,
        error,
        duration_ms = (seconds * 1000.0).round(),
        video_frames = media.video_frames,
        audio_frames = media.audio_frames,
        dropped = media.frames_dropped,
        repaired = media.timestamps_repaired,
        protocol = peer.protocol.as_str(),
        client = %peer.address,
        "encoder disconnected"
    );
    end
}

/// Exchanges the stream key for a publication.
async fn admit(shared: &Shared, request: &PublishRequest, protocol: IngestProtocol) -> Result<Admitted, Refusal> {
    let stream_key = stream_key(request)?.to_owned();
    let client = software::client(&request.flash_version);
    Ok(shared.admission.admit(EncoderRequest { stream_key, protocol, client }).await?)
}

/// The stream key of `rtmp://host/app/KEY`, wherever the encoder splits the URL.
fn stream_key(request: &PublishRequest) -> Result<&str, Refusal> {
    let application = request.app.trim_matches('/');
    let name = request.stream_key.trim_start_matches('/');
    match application.split_once('/') {
        None if application == APPLICATION => Ok(name),
        Some((APPLICATION, key)) if name.is_empty() => Ok(key),
        _ => Err(Refusal::unknown_application(&request.app)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoders_split_urls_in_several_places() {
        let key = |app: &str, stream_key: &str| {
            let request = PublishRequest {
                app: app.into(),
                tc_url: String::new(),
                stream_key: stream_key.into(),
                flash_version: String::new(),
            };
            super::stream_key(&request).map(str::to_owned).map_err(|refusal| refusal.status)
        };
        for (app, name) in [("app", "rt_1"), ("app/", "rt_1"), ("/app/", "/rt_1"), ("app/rt_1", ""), ("app//rt_1", "")]
        {
            let found = key(app, name).map(|key| key.trim_start_matches('/').to_owned());
            assert_eq!(found.as_deref(), Ok("rt_1"), "{app} {name}");
        }
        assert_eq!(key("app", "").as_deref(), Ok(""));
        for app in ["", "live", "app2", "App", "live/app", "app/rt_1"] {
            assert_eq!(key(app, "rt_1"), Err("NetStream.Publish.BadName"), "{app}");
        }
    }
}
