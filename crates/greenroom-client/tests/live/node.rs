//! A node: the media engine, and as much of HTTP as WHIP takes.

use greenroom_media::{
    CloseReason, MediaConfig, MediaEvent, MediaHandle, OfferLimits, TcpLimits, TcpSource, TransportId, bind,
};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

pub struct Node {
    pub media: MediaHandle,
    pub url: String,
    events: mpsc::Receiver<MediaEvent>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Node {
    /// `refusal`: the status and body of the answer to offers, in place of an answer.
    pub async fn start(refusal: Option<(u16, &'static str)>) -> Node {
        let config = MediaConfig {
            public_ips: Vec::new(),
            timeout: Duration::from_secs(10),
            strict_ivs: true,
            offer_limits: OfferLimits::default(),
            tcp_limits: TcpLimits::default(),
        };
        let socket = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let (media, events) = MediaHandle::start(socket, TcpSource::None, config).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/node", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(serve(listener, media.clone(), refusal, Arc::clone(&requests)));
        Node { media, url, events, requests }
    }

    /// The request lines so far.
    pub fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// The publisher whose media have started.
    pub async fn publisher(&mut self) -> TransportId {
        loop {
            if let MediaEvent::MediaStarted(id) = self.event().await {
                return id;
            }
        }
    }

    pub async fn closed(&mut self) -> CloseReason {
        loop {
            if let MediaEvent::Closed(_, reason) = self.event().await {
                return reason;
            }
        }
    }

    async fn event(&mut self) -> MediaEvent {
        tokio::time::timeout(Duration::from_secs(20), self.events.recv()).await.expect("an event").unwrap()
    }
}

async fn serve(
    listener: TcpListener,
    media: MediaHandle,
    refusal: Option<(u16, &'static str)>,
    requests: Arc<Mutex<Vec<String>>>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        answer(stream, &media, refusal, &requests).await;
    }
}

async fn answer(
    mut stream: TcpStream,
    media: &MediaHandle,
    refusal: Option<(u16, &'static str)>,
    requests: &Mutex<Vec<String>>,
) {
    let (head, body) = read(&mut stream).await;
    let line = head.lines().next().unwrap().to_owned();
    assert!(head.to_ascii_lowercase().contains("authorization: bearer "), "{head}");
    let response = match (line.split(' ').next(), refusal) {
        (Some("POST"), Some((status, body))) => response(status, "", body),
        (Some("POST"), None) => {
            let id = media.new_transport_id();
            let answer = media.publish(id, body).await.unwrap();
            response(201, &format!("Location: /node/whip/resource/{}\r\n", id.0), &answer)
        }
        _ => {
            let id = line.split(['/', ' ']).filter_map(|word| word.parse().ok()).next().unwrap();
            media.close(TransportId(id));
            response(200, "", "")
        }
    };
    requests.lock().unwrap().push(line);
    stream.write_all(response.as_bytes()).await.unwrap();
}

fn response(status: u16, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status} x\r\n{headers}Content-Length: {}\r\n\r\n{body}", body.len())
}

async fn read(stream: &mut TcpStream) -> (String, String) {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lower = head.to_ascii_lowercase();
            let length = lower.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return (head.to_owned(), body.to_owned());
            }
        }
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "the request is incomplete");
    }
}
