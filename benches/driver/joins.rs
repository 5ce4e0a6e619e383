//! Participants that join and leave: each opens the events WebSocket, gets the stage's state, and disconnects.

use crate::report::{self, Latencies};
use crate::request::Target;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{WebSocketStream, client_async};

/// Time limit of an answer.
const TIMEOUT: Duration = Duration::from_secs(20);
const MAKERS: usize = 8;

#[derive(Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// File of the stages' ARNs, one a line: participants are spread over them
    #[arg(long, value_name = "FILE", required_unless_present = "tokens")]
    stages: Option<PathBuf>,
    /// File of existing tokens, each with the id of its stage after a space, instead
    #[arg(long, value_name = "FILE", conflicts_with = "stages")]
    tokens: Option<PathBuf>,
    /// Number of participants; each joins once
    #[arg(long, default_value_t = 1000, value_name = "N")]
    count: usize,
    /// Concurrent participants
    #[arg(long, default_value_t = 32, value_name = "N")]
    at_once: usize,
    /// Stay connected until the end of standard input, after a line of JSON that says that all have joined
    #[arg(long)]
    hold: bool,
    /// Process id of the server, to report its processor time
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
}

/// A token, and the id of its stage.
type StageToken = (String, String);
type Socket = WebSocketStream<tokio::net::TcpStream>;

pub fn run(args: Args) -> Result<Value, String> {
    let Some(file) = args.stages.as_ref().or(args.tokens.as_ref()) else {
        return Err("--stages or --tokens is missing".into());
    };
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let lines: Vec<&str> = text.lines().collect();
    if lines.is_empty() {
        return Err(format!("{}: there is nothing in it", file.display()));
    }
    let pair = |line: &&str| line.split_once(' ').map(|(token, stage)| (token.to_owned(), stage.to_owned()));
    let tokens = match args.tokens {
        Some(_) => lines.iter().map(pair).collect::<Option<_>>().ok_or("each line is a token, a space and a stage")?,
        None => tokens(&args, &lines)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(join(args, tokens))
}

async fn join(args: Args, tokens: Vec<StageToken>) -> Result<Value, String> {
    let cpu = |pid| (report::cpu_seconds(None), report::cpu_seconds(pid));
    let count = tokens.len();
    let queue = Arc::new(Mutex::new(VecDeque::from(tokens)));
    let before = cpu(args.pid);
    let begun = Instant::now();
    let workers = (0..args.at_once).map(|_| tokio::spawn(work(args.clone(), queue.clone()))).collect::<Vec<_>>();
    let (mut held, mut joins, mut leaves) = (Vec::new(), Latencies::default(), Latencies::default());
    for worker in workers {
        let done = worker.await.map_err(|error| error.to_string())??;
        done.joins.into_iter().for_each(|time| joins.push(time));
        done.leaves.into_iter().for_each(|time| leaves.push(time));
        held.extend(done.held);
    }
    let seconds = begun.elapsed().as_secs_f64();
    let after = cpu(args.pid);
    if args.hold {
        println!("{}", json!({"joined": held.len(), "rate": held.len() as f64 / seconds}));
        let mut line = String::new();
        tokio::task::spawn_blocking(move || std::io::stdin().read_line(&mut line)).await.ok();
        drop(held);
        return Ok(Value::Null);
    }
    let each = |seconds: f64| seconds * 1e6 / count as f64;
    Ok(json!({
        "joins": count,
        "seconds": seconds,
        "rate": count as f64 / seconds,
        "driver_us": each(after.0 - before.0),
        "subject_us": args.pid.map(|_| each(after.1 - before.1)),
        "join_us": joins.value(),
        "leave_us": leaves.value(),
    }))
}

#[derive(Default)]
struct Done {
    joins: Vec<Duration>,
    leaves: Vec<Duration>,
    held: Vec<Socket>,
}

async fn work(args: Args, queue: Arc<Mutex<VecDeque<StageToken>>>) -> Result<Done, String> {
    let mut done = Done::default();
    loop {
        let next = queue.lock().expect("no thread panics").pop_front();
        let Some(token) = next else { return Ok(done) };
        let begun = Instant::now();
        let late = |_| "a participant waited too long".to_owned();
        let mut socket = tokio::time::timeout(TIMEOUT, connect(&args.target, &token)).await.map_err(late)??;
        done.joins.push(begun.elapsed());
        if args.hold {
            done.held.push(socket);
            continue;
        }
        let begun = Instant::now();
        tokio::time::timeout(TIMEOUT, disconnect(&mut socket)).await.map_err(late)?;
        done.leaves.push(begun.elapsed());
    }
}

/// Joins: has joined once the stage's state has arrived.
async fn connect(target: &Target, (token, stage): &StageToken) -> Result<Socket, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("joining {stage}: {error}");
    let mut request =
        format!("ws://{}/events/{stage}", target.target).into_client_request().map_err(|error| wrong(&error))?;
    let bearer = format!("Bearer {token}").parse().map_err(|_| wrong(&"its token is no header"))?;
    request.headers_mut().insert("authorization", bearer);
    let stream = tokio::net::TcpStream::connect(target.target).await.map_err(|error| wrong(&error))?;
    stream.set_nodelay(true).map_err(|error| wrong(&error))?;
    let (mut socket, _) = client_async(request, stream).await.map_err(|error| wrong(&error))?;
    match socket.next().await {
        Some(Ok(Message::Text(text))) if text.starts_with(r#"{"type":"STAGE_STATE""#) => Ok(socket),
        other => Err(wrong(&format!("{other:?}"))),
    }
}

/// Leaves, and waits for the server's close frame.
async fn disconnect(socket: &mut Socket) {
    if socket.send(Message::Close(None)).await.is_ok() {
        while let Some(Ok(_)) = socket.next().await {}
    }
}

/// A token for each participant, made by `CreateParticipantToken`.
fn tokens(args: &Args, stages: &[&str]) -> Result<Vec<StageToken>, String> {
    let share = args.count.div_ceil(MAKERS);
    let make = |from: usize| {
        let stream = TcpStream::connect(args.target.target).map_err(|error| error.to_string())?;
        stream.set_nodelay(true).map_err(|error| error.to_string())?;
        let mut stream = BufReader::new(stream);
        (from..args.count.min(from + share)).map(|n| token_for(args, &mut stream, stages[n % stages.len()])).collect()
    };
    std::thread::scope(|scope| {
        let makers: Vec<_> = (0..args.count).step_by(share).map(|from| scope.spawn(move || make(from))).collect();
        let made: Result<Vec<Vec<StageToken>>, String> =
            makers.into_iter().map(|maker| maker.join().expect("it does not panic")).collect();
        Ok(made?.concat())
    })
}

fn token_for(args: &Args, stream: &mut BufReader<TcpStream>, arn: &str) -> Result<StageToken, String> {
    let body = json!({"stageArn": arn, "duration": 60}).to_string();
    let request = args.target.signed("/CreateParticipantToken", &body)?;
    let failed = |error: std::io::Error| error.to_string();
    stream.get_mut().write_all(&request).map_err(failed)?;
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).map_err(failed)? == 0 {
            return Err("closed in the middle of an answer".into());
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(|_| "a length that is no number")?;
        }
        if line == "\r\n" {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).map_err(failed)?;
    let text = String::from_utf8_lossy(&body);
    let value: Value = serde_json::from_slice(&body).map_err(|error| format!("{head}{text}: {error}"))?;
    let token = value["participantToken"]["token"].as_str().ok_or_else(|| format!("{head}{text}"))?;
    let stage = arn.rsplit('/').next().unwrap_or_default();
    Ok((token.to_owned(), stage.to_owned()))
}
