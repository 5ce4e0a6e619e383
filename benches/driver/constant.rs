//! A constant answer to every request: a server's lower bound.

use axum::Router;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::serve::ListenerExt as _;
use serde_json::{Value, json};
use std::path::PathBuf;
use tokio::net::TcpListener;

#[derive(clap::Args)]
pub struct Args {
    /// File with the body
    #[arg(long, value_name = "FILE")]
    body: PathBuf,
    /// A header, as NAME:VALUE
    #[arg(long = "header", value_name = "NAME:VALUE")]
    headers: Vec<String>,
}

#[tokio::main]
pub async fn run(args: Args) -> Result<Value, String> {
    let body = std::fs::read_to_string(&args.body).map_err(|error| format!("{}: {error}", args.body.display()))?;
    let body: &'static str = body.leak();
    let headers = args.headers.iter().map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.parse::<HeaderName>().ok()?, value.trim().parse::<HeaderValue>().ok()?))
    });
    let headers: HeaderMap = headers.collect::<Option<_>>().ok_or("a header is NAME:VALUE")?;
    let answer = async move || (StatusCode::OK, headers.clone(), body);
    let router = Router::new().fallback(answer);
    let failed = |error: std::io::Error| error.to_string();
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
    println!("{}", json!({"address": listener.local_addr().map_err(failed)?.to_string()}));
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    axum::serve(listener, router).await.map_err(failed)?;
    Ok(Value::Null)
}
