//! A minimal signaling server on the real media engine: events, publishing, subscribing, but no token verification and no
//! store. Tests make it redirect, reject and close.

use axum::Router;
use axum::body::Body;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use clap::Parser as _;
use greenroom::config::ServeArgs;
use greenroom::http::{HttpServer, HttpService};
use greenroom::server::http_settings;
use greenroom_media::{MediaHandle, TransportId};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tower::ServiceExt as _;

/// The state that the events WebSockets send.
#[derive(Clone, Debug, Default)]
pub struct Stage {
    /// Participants, and whether they publish.
    pub there: BTreeMap<String, bool>,
    /// Set to close all sockets.
    pub close: Option<(u16, String)>,
}

/// A running service.
pub struct Service {
    /// `http://HOST:PORT`.
    pub url: String,
    state: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    url: String,
    media: MediaHandle,
    stage: watch::Sender<Stage>,
    publishers: Mutex<BTreeMap<String, TransportId>>,
    /// Where all requests are redirected to.
    elsewhere: Mutex<Option<String>>,
    /// Requested paths, with their bearer tokens.
    asked: Mutex<Vec<(String, String)>>,
}

impl Service {
    pub async fn start() -> Service {
        let socket = greenroom_media::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let settings = greenroom_media::MediaConfig {
            public_ips: vec![],
            timeout: Duration::from_secs(15),
            strict_ivs: false,
            offer_limits: greenroom_media::OfferLimits::default(),
            tcp_limits: greenroom_media::TcpLimits::default(),
        };
        let (media, mut events) = MediaHandle::start(socket, greenroom_media::TcpSource::None, settings).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Shared {
            url: url.clone(),
            media,
            stage: watch::channel(Stage::default()).0,
            publishers: Mutex::default(),
            elsewhere: Mutex::default(),
            asked: Mutex::default(),
        });
        let router = Router::new()
            .route("/events/{topic}", get(hear))
            .route("/whip/publish/{id}", post(publish))
            .route("/whip/subscribe/{id}", post(subscribe))
            .route("/whip/resource/{id}", delete(end))
            .with_state(state.clone());
        let received = state.clone();
        let task = tokio::spawn(async move {
            let args = ServeArgs::parse_from(["greenroom"]).listener;
            let settings = http_settings(&args);
            let service = HttpService::uniform(&settings, move |request| {
                let router = router.clone();
                async move { router.oneshot(request).await.unwrap_or_else(|never| match never {}) }
            });
            let server = HttpServer::new(listener, service, None, settings);
            tokio::join!(server.run(std::future::pending(), Duration::ZERO), async move {
                while let Some(event) = events.recv().await {
                    received.happened(event);
                }
            });
        });
        Service { url, state, task }
    }

    /// Redirects all requests to another service from now on.
    pub fn redirect(&self, to: &Service) {
        *self.state.elsewhere.lock().unwrap() = Some(to.url.clone());
    }

    /// Closes every events WebSocket.
    pub fn close(&self, code: u16, word: &str) {
        self.state.stage.send_modify(|stage| stage.close = Some((code, word.to_owned())));
    }

    /// Announces whether a participant publishes, whatever its media.
    pub fn pretend(&self, id: &str, publishing: bool) {
        self.state.stage.send_modify(|stage| {
            stage.there.insert(id.to_owned(), publishing);
        });
    }

    /// The paths that were requested with a token.
    pub fn asked(&self, token: &str) -> Vec<String> {
        let asked = self.state.asked.lock().unwrap();
        asked.iter().filter(|(_, bearer)| bearer == token).map(|(path, _)| path.clone()).collect()
    }

    /// Waits until the stage meets a condition.
    pub async fn until(&self, wish: impl Fn(&Stage) -> bool) {
        let mut stage = self.state.stage.subscribe();
        stage.wait_for(|stage| wish(stage)).await.unwrap();
    }

    /// A token for this service.
    pub fn token(&self, id: &str) -> String {
        use base64::Engine as _;
        let part = |text: String| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
        let payload = json!({
            "jti": id, "topic": "stage1",
            "events_url": format!("{}/events", self.url.replace("http", "ws")),
            "whip_url": format!("{}/whip", self.url),
        });
        format!("{}.{}.{}", part("{}".into()), part(payload.to_string()), part("x".into()))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    fn happened(&self, event: greenroom_media::MediaEvent) {
        let publishers = self.publishers.lock().unwrap();
        let name = |peer| publishers.iter().find(|(_, known)| **known == peer).map(|(id, _)| id.clone());
        let (peer, publishing) = match event {
            greenroom_media::MediaEvent::MediaStarted(peer) => (peer, true),
            greenroom_media::MediaEvent::Closed(peer, _) => (peer, false),
            greenroom_media::MediaEvent::Connected(_) | greenroom_media::MediaEvent::MediaMissing(..) => return,
        };
        if let Some(id) = name(peer) {
            self.stage.send_modify(|stage| {
                stage.there.insert(id, publishing);
            });
        }
    }

    /// Records a request, and redirects it if configured.
    fn asks(&self, path: String, headers: &HeaderMap) -> Option<Response> {
        let bearer = headers.get(header::AUTHORIZATION).map(|bearer| bearer.to_str().unwrap().replace("Bearer ", ""));
        self.asked.lock().unwrap().push((path.clone(), bearer.unwrap_or_default()));
        let elsewhere = self.elsewhere.lock().unwrap();
        let url = elsewhere.as_ref()?;
        Some((StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, format!("{url}{path}"))]).into_response())
    }

    fn made(&self, answer: String, peer: TransportId) -> Response {
        let place = format!("{}/whip/resource/{}", self.url, peer.0);
        let headers = [(header::LOCATION, place), (header::CONTENT_TYPE, "application/sdp".into())];
        (StatusCode::CREATED, headers, answer).into_response()
    }
}

fn refusal(status: StatusCode, code: &str, message: &str) -> Response {
    let body = json!({"code": code, "message": message}).to_string();
    Response::builder().status(status).body(Body::from(body)).unwrap()
}

type Ours = State<Arc<Shared>>;

async fn publish(State(ours): Ours, Path(id): Path<String>, headers: HeaderMap, offer: String) -> Response {
    if let Some(elsewhere) = ours.asks(format!("/whip/publish/{id}"), &headers) {
        return elsewhere;
    }
    let peer = ours.media.new_transport_id();
    ours.publishers.lock().unwrap().insert(id, peer);
    match ours.media.publish(peer, offer).await {
        Ok(answer) => ours.made(answer, peer),
        Err(error) => refusal(StatusCode::BAD_REQUEST, "MALFORMED_OFFER", &error.to_string()),
    }
}

async fn subscribe(State(ours): Ours, Path(id): Path<String>, headers: HeaderMap, offer: String) -> Response {
    if let Some(elsewhere) = ours.asks(format!("/whip/subscribe/{id}"), &headers) {
        return elsewhere;
    }
    let publisher = ours.publishers.lock().unwrap().get(&id).copied();
    let Some(publisher) = publisher else {
        return refusal(StatusCode::NOT_FOUND, "PUBLISHER_NOT_FOUND", "no such publisher");
    };
    let peer = ours.media.new_transport_id();
    match ours.media.subscribe(peer, publisher, offer).await {
        Ok(answer) => ours.made(answer, peer),
        Err(error) => refusal(StatusCode::NOT_FOUND, "PUBLISHER_NOT_FOUND", &error.to_string()),
    }
}

async fn end(State(ours): Ours, Path(id): Path<u64>, headers: HeaderMap) -> StatusCode {
    let _ = ours.asks(format!("/whip/resource/{id}"), &headers);
    ours.media.close(TransportId(id));
    StatusCode::OK
}

async fn hear(State(ours): Ours, headers: HeaderMap, upgrade: WebSocketUpgrade) -> Response {
    if let Some(elsewhere) = ours.asks("/events/stage1".into(), &headers) {
        return elsewhere;
    }
    let token = headers[header::SEC_WEBSOCKET_PROTOCOL].to_str().unwrap().to_owned();
    if token.starts_with("refused") {
        return refusal(StatusCode::UNAUTHORIZED, "TOKEN_EXPIRED", "too late");
    }
    upgrade.protocols([token]).on_upgrade(move |socket| tell(socket, ours))
}

/// Sends the stage's state on a socket.
async fn tell(mut socket: WebSocket, ours: Arc<Shared>) {
    let mut stage = ours.stage.subscribe();
    loop {
        let now = stage.borrow_and_update().clone();
        if let Some((code, word)) = now.close {
            let _ = socket.send(Message::Close(Some(CloseFrame { code, reason: word.into() }))).await;
            return;
        }
        let entry = |(id, publishing): (&String, &bool)| json!({"id": id, "userId": "", "isPublishing": publishing});
        let participants: Vec<Value> = now.there.iter().map(entry).collect();
        let state = json!({"type": "STAGE_STATE", "payload": {"stageId": "stage1", "participants": participants}});
        if socket.send(Message::text(state.to_string())).await.is_err() {
            return;
        }
        tokio::select! {
            changed = stage.changed() => if changed.is_err() { return },
            received = socket.recv() => if received.is_none() { return },
        }
    }
}
