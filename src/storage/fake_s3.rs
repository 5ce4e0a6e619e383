//! An S3 server in the process of a test: it keeps objects in memory, and misbehaves as it is told to.

use super::settings::{PlaceSettings, S3Settings};
use super::{Storage, StorageSettings, Timeouts};
use crate::config::{Encryption, Endpoint, Secret};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Works,
    /// With a status and the code of an error.
    Fails(u16, &'static str),
    /// Never.
    Hangs,
    /// It closes the connection.
    IsGone,
}

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub method: String,
    /// Path and query.
    pub target: String,
    /// By name in lower case.
    pub headers: HashMap<String, String>,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

#[derive(Debug, Default)]
struct State {
    /// By bucket; `""` stands for the others.
    modes: HashMap<String, Mode>,
    requests: Vec<Received>,
    /// By `/bucket/key`.
    objects: BTreeMap<String, Vec<u8>>,
}

/// The server; it ends with the runtime of its test.
#[derive(Clone, Debug)]
pub(crate) struct FakeS3 {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
    count: Arc<watch::Sender<usize>>,
}

/// Objects on a page of a list.
const PAGE: usize = 2;

impl FakeS3 {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = FakeS3 { address, state: Arc::default(), count: Arc::default() };
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = accepting.clone();
                tokio::spawn(async move { server.serve(stream).await });
            }
        });
        server
    }

    /// The settings of this server.
    pub(super) fn settings(&self) -> S3Settings {
        S3Settings {
            endpoint: Some(Endpoint(format!("http://{}", self.address))),
            region: Some("eu-test-1".into()),
            path_style: true,
            encryption: Encryption::None,
            kms_key_id: None,
            acl: true,
            credentials: Some(("AKIDEXAMPLE".into(), Secret("secret".into()))),
            bucket: None,
        }
    }

    pub async fn storage(&self) -> Storage {
        open(self.settings(), Timeouts::default()).await
    }

    /// Sets how it answers for a bucket, or with `""` for those that are not set.
    pub fn set(&self, bucket: &str, mode: Mode) {
        self.state.lock().unwrap().modes.insert(bucket.to_owned(), mode);
    }

    pub fn requests(&self) -> Vec<Received> {
        self.state.lock().unwrap().requests.clone()
    }

    /// The keys of the objects that were put, in the order of the requests, with those that failed.
    pub fn puts(&self) -> Vec<String> {
        let puts = self.requests().into_iter().filter(|request| request.method == "PUT");
        puts.map(|request| request.target.split('?').next().unwrap_or_default().to_owned()).collect()
    }

    pub fn objects(&self) -> BTreeMap<String, Vec<u8>> {
        self.state.lock().unwrap().objects.clone()
    }

    /// Waits until it has received this many requests since its start.
    pub async fn received(&self, count: usize) {
        self.count.subscribe().wait_for(|received| *received >= count).await.unwrap();
    }

    async fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        while let Ok(Some((request, body))) = read(&mut stream).await {
            let path = request.target.split('?').next().unwrap_or_default().to_owned();
            let bucket = path.split('/').nth(1).unwrap_or_default().to_owned();
            let mode = {
                let mut state = self.state.lock().unwrap();
                state.requests.push(request.clone());
                state.modes.get(&bucket).or_else(|| state.modes.get("")).copied().unwrap_or(Mode::Works)
            };
            self.count.send_modify(|count| *count += 1);
            let (status, answer) = match mode {
                Mode::Works => self.answer(&request, &path, body),
                Mode::Fails(status, code) => (status, error(code)),
                Mode::Hangs => std::future::pending().await,
                Mode::IsGone => return,
            };
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", answer.len());
            let answer = if request.method == "HEAD" { Vec::new() } else { answer };
            if stream.write_all(&[head.as_bytes(), &answer].concat()).await.is_err() {
                return;
            }
        }
    }

    fn answer(&self, request: &Received, path: &str, body: Vec<u8>) -> (u16, Vec<u8>) {
        let mut state = self.state.lock().unwrap();
        match request.method.as_str() {
            "PUT" => {
                state.objects.insert(path.to_owned(), body);
                (200, Vec::new())
            }
            "HEAD" => (200, Vec::new()),
            _ if request.target.contains("list-type=2") => (200, list(&state.objects, path, &request.target)),
            _ => match state.objects.get(path) {
                Some(object) => (200, object.clone()),
                None => (404, error("NoSuchKey")),
            },
        }
    }
}

pub(super) async fn open(settings: S3Settings, timeouts: Timeouts) -> Storage {
    let settings = StorageSettings { default: PlaceSettings::S3(settings), buckets: HashMap::new() };
    Storage::open_with(settings, timeouts).await.unwrap()
}

/// Timeouts for a server that does not answer.
pub(super) fn short() -> Timeouts {
    Timeouts { connect: Duration::from_millis(200), request: Duration::from_millis(100), rate: 1 << 20 }
}

fn error(code: &str) -> Vec<u8> {
    format!("<Error><Code>{code}</Code><Message>of the store</Message></Error>").into_bytes()
}

fn list(objects: &BTreeMap<String, Vec<u8>>, bucket: &str, target: &str) -> Vec<u8> {
    let query = |name: &str| {
        let value = target.split(['?', '&']).find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        percent_encoding::percent_decode_str(value.unwrap_or_default()).decode_utf8().unwrap().into_owned()
    };
    let start = format!("{}/", bucket.trim_end_matches('/'));
    let (prefix, after) = (query("prefix"), query("continuation-token"));
    let keys = objects.iter().filter_map(|(path, body)| Some((path.strip_prefix(&start)?, body)));
    let found: Vec<_> = keys.filter(|(key, _)| key.starts_with(&prefix) && *key > after.as_str()).collect();
    let page = &found[..found.len().min(PAGE)];
    let mut xml = format!("<ListBucketResult><IsTruncated>{}</IsTruncated>", found.len() > PAGE);
    for (key, body) in page {
        xml += &format!("<Contents><Key>{key}</Key><Size>{}</Size></Contents>", body.len());
    }
    if let (Some((last, _)), true) = (page.last(), found.len() > PAGE) {
        xml += &format!("<NextContinuationToken>{last}</NextContinuationToken>");
    }
    (xml + "</ListBucketResult>").into_bytes()
}

/// Reads a request, or the end of the connection.
async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Option<(Received, Vec<u8>)>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    if headers.get("expect").is_some_and(|expect| expect == "100-continue") {
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
    }
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some((Received { method, target, headers }, body)))
}
