//! Requests over keep-alive connections: one thread and one epoll; of a response it reads only status and length.

use crate::link::{Link, connect, head, strange};
use crate::report::{self, Latencies};
use crate::request::Target;
use mio::event::Event;
use mio::{Events, Poll, Token, Waker};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Longest duration of a run: its requests are signed once, at its start.
const LONGEST: f64 = 240.0;
/// How long to wait for the last responses.
const TIMEOUT: Duration = Duration::from_secs(20);

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    target: Target,
    /// Path of the operation, for a single request
    #[arg(long, value_name = "PATH", required_unless_present = "requests")]
    path: Option<String>,
    /// Body of the request
    #[arg(long, default_value = "{}", value_name = "JSON")]
    body: String,
    /// File of requests, one a line: the path, a space, the body. They are sent in turn, again and again
    #[arg(long, value_name = "FILE", conflicts_with = "path")]
    requests: Option<PathBuf>,
    /// Number of connections
    #[arg(long, default_value_t = 32, value_name = "N")]
    connections: usize,
    /// Measured duration in seconds
    #[arg(long, default_value_t = 3.0, value_name = "S")]
    seconds: f64,
    /// Warm-up in seconds
    #[arg(long, default_value_t = 0.3, value_name = "S")]
    warm: f64,
    /// Requests a second at fixed times (open loop); latencies count from those times [default: closed loop, each as soon as a connection is free]
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// Process id of the server, to report its processor time
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
}

pub fn run(args: &Args) -> Result<Value, String> {
    if args.warm + args.seconds > LONGEST {
        return Err(format!("signatures grow old: {LONGEST} seconds at most"));
    }
    let requests = match (&args.path, &args.requests) {
        (Some(path), _) => vec![args.target.signed(path, &args.body)?],
        (None, Some(file)) => {
            let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
            let signed = |line: &str| {
                let (path, body) = line.split_once(' ').ok_or("a request is a path, a space and a body")?;
                args.target.signed(path, body)
            };
            text.lines().map(signed).collect::<Result<Vec<_>, _>>()?
        }
        (None, None) => Vec::new(),
    };
    if requests.is_empty() {
        return Err("there is nothing to send".into());
    }
    let mut driver = Driver::new(args, requests).map_err(|error| format!("{}: {error}", args.target.target))?;
    driver.drive(args).map_err(|error| error.to_string())
}

/// When requests are sent.
enum Pace {
    /// Closed loop: as soon as a connection is free.
    Closed,
    /// Open loop: the time of the first one, the interval, and how many have been sent.
    Open(Instant, Duration, u32),
}

struct Driver {
    poll: Poll,
    target: std::net::SocketAddr,
    links: Vec<Link>,
    idle: Vec<usize>,
    requests: Vec<Vec<u8>>,
    next: usize,
    pace: Pace,
    buffer: Vec<u8>,
    /// Start and end of the measured time.
    from: Instant,
    until: Instant,
    latencies: Latencies,
    completed: u64,
    bytes: u64,
    statuses: BTreeMap<u16, u64>,
    sample: Option<String>,
    reconnects: u64,
}

impl Driver {
    fn new(args: &Args, requests: Vec<Vec<u8>>) -> std::io::Result<Self> {
        let poll = Poll::new()?;
        let from = Instant::now() + Duration::from_secs_f64(args.warm);
        let links = (0..args.connections).map(|n| connect(&poll, args.target.target, n)).collect::<Result<_, _>>()?;
        Ok(Driver {
            poll,
            target: args.target.target,
            links,
            idle: (0..args.connections).collect(),
            requests,
            next: 0,
            pace: Pace::Closed,
            buffer: vec![0; 256 * 1024],
            from,
            until: from + Duration::from_secs_f64(args.seconds),
            latencies: Latencies::with_capacity(1 << 20),
            completed: 0,
            bytes: 0,
            statuses: BTreeMap::new(),
            sample: None,
            reconnects: 0,
        })
    }

    fn drive(&mut self, args: &Args) -> std::io::Result<Value> {
        let mut events = Events::with_capacity(1024);
        if let Some(rate) = args.rate {
            let (begin, between) = (Instant::now(), Duration::from_secs_f64(1.0 / rate));
            self.pace = Pace::Open(begin, between, 0);
            wake(Waker::new(self.poll.registry(), Token(usize::MAX))?, begin, between, self.until);
        }
        let mut spent: Option<(f64, f64)> = None;
        let mut now = Instant::now();
        let costs = loop {
            let cpu = || (report::cpu_seconds(None), args.pid.map_or(0.0, |pid| report::cpu_seconds(Some(pid))));
            if spent.is_none() && now >= self.from {
                spent = Some(cpu());
            }
            if now >= self.until {
                let (own, subject) = cpu();
                let before = spent.unwrap_or_default();
                break (own - before.0, subject - before.1);
            }
            self.send_what_is_due(now)?;
            self.poll.poll(&mut events, Some(self.until - now)).or_else(uninterrupted)?;
            now = Instant::now();
            for event in &events {
                self.hear(event, now)?;
            }
        };
        self.settle(&mut events)?;
        Ok(self.report(args, costs))
    }

    /// Waits for outstanding responses, which are not measured, but may be failures.
    fn settle(&mut self, events: &mut Events) -> std::io::Result<()> {
        let end = Instant::now() + TIMEOUT;
        while self.links.iter().any(|link| link.busy) {
            let now = Instant::now();
            if now >= end {
                return Err(std::io::Error::new(ErrorKind::TimedOut, "no answers in time"));
            }
            self.poll.poll(events, Some(end - now)).or_else(uninterrupted)?;
            for event in &*events {
                self.hear(event, Instant::now())?;
            }
        }
        Ok(())
    }

    fn report(&mut self, args: &Args, (own, subject): (f64, f64)) -> Value {
        let each = |seconds: f64| (self.completed > 0).then(|| seconds * 1e6 / self.completed as f64);
        json!({
            "requests": self.completed,
            "seconds": args.seconds,
            "rate": self.completed as f64 / args.seconds,
            "bytes": self.bytes / self.completed.max(1),
            "statuses": self.statuses,
            "sample": self.sample,
            "reconnects": self.reconnects,
            "driver_us": each(own),
            "subject_us": args.pid.and_then(|_| each(subject)),
            "measured": self.latencies.len(),
            "late": self.late(),
            "latency_us": std::mem::take(&mut self.latencies).value(),
        })
    }

    /// Requests that were due and found no free connection until the end.
    fn late(&self) -> u32 {
        match self.pace {
            Pace::Closed => 0,
            Pace::Open(begin, between, sent) => {
                let due = ((self.until - begin).as_secs_f64() / between.as_secs_f64()) as u32;
                due.saturating_sub(sent)
            }
        }
    }

    fn send_what_is_due(&mut self, now: Instant) -> std::io::Result<()> {
        while !self.idle.is_empty() {
            let since = match &mut self.pace {
                Pace::Closed => now,
                Pace::Open(begin, between, sent) => {
                    let due = *begin + *between * *sent;
                    if due > now {
                        return Ok(());
                    }
                    *sent += 1;
                    due
                }
            };
            let Some(link) = self.idle.pop() else { return Ok(()) };
            self.send(link, since)?;
        }
        Ok(())
    }

    fn send(&mut self, n: usize, since: Instant) -> std::io::Result<()> {
        let request = self.next;
        self.next = (self.next + 1) % self.requests.len();
        let link = &mut self.links[n];
        (link.busy, link.since, link.unsent) = (true, since, Some((request, 0)));
        self.go_on(n)
    }

    fn go_on(&mut self, n: usize) -> std::io::Result<()> {
        let link = &mut self.links[n];
        while let Some((request, from)) = link.unsent {
            let bytes = &self.requests[request];
            match link.stream.write(&bytes[from..]) {
                Ok(sent) if from + sent == bytes.len() => link.unsent = None,
                Ok(sent) => link.unsent = Some((request, from + sent)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn hear(&mut self, event: &Event, now: Instant) -> std::io::Result<()> {
        let Token(n) = event.token();
        if n == usize::MAX {
            return Ok(());
        }
        if event.is_writable() && self.links[n].unsent.is_some() {
            self.go_on(n)?;
        }
        while event.is_readable() && self.links[n].busy {
            match self.links[n].stream.read(&mut self.buffer) {
                Ok(0) => {
                    return Err(std::io::Error::new(ErrorKind::UnexpectedEof, "closed in the middle of an answer"));
                }
                Ok(length) => {
                    if self.take(n, length)? {
                        self.finish(n, now)?;
                    }
                    // A short read: there is no more for now, and an event will follow.
                    if length < self.buffer.len() {
                        break;
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads more of a response; answers whether it is complete.
    fn take(&mut self, n: usize, length: usize) -> std::io::Result<bool> {
        let link = &mut self.links[n];
        let mut came = &self.buffer[..length];
        let joined;
        if link.begun.is_none() {
            if !link.head.is_empty() {
                link.head.extend_from_slice(came);
                joined = std::mem::take(&mut link.head);
                came = &joined;
            }
            let Some((answer, body)) = head(came)? else {
                link.head = came.to_vec();
                return Ok(false);
            };
            if answer.status != 200 && self.sample.is_none() {
                self.sample = Some(String::from_utf8_lossy(&came[..came.len().min(2000)]).into_owned());
            }
            link.begun = Some(answer);
            came = &came[body..];
        }
        let Some(answer) = &mut link.begun else { return Ok(false) };
        answer.missing = answer.missing.checked_sub(came.len()).ok_or_else(|| strange("more than was announced"))?;
        Ok(answer.missing == 0)
    }

    fn finish(&mut self, n: usize, now: Instant) -> std::io::Result<()> {
        let link = &mut self.links[n];
        let Some(answer) = link.begun.take() else { return Ok(()) };
        link.busy = false;
        *self.statuses.entry(answer.status).or_default() += 1;
        if now >= self.from && now < self.until {
            self.completed += 1;
            self.bytes += answer.length as u64;
        }
        // Includes the last ones, however late they are answered.
        if link.since >= self.from && link.since < self.until {
            self.latencies.push(now - link.since);
        }
        if answer.closes {
            self.reconnects += 1;
            let old = std::mem::replace(&mut self.links[n], connect(&self.poll, self.target, n)?);
            drop(old);
        }
        match (&self.pace, now < self.until) {
            (Pace::Closed, true) => self.send(n, now),
            _ => {
                self.idle.push(n);
                Ok(())
            }
        }
    }
}

/// Wakes the poll whenever a request is due, to the microsecond: epoll's timeout has milliseconds.
fn wake(waker: Waker, begin: Instant, between: Duration, until: Instant) {
    std::thread::spawn(move || {
        let mut due = begin;
        while due < until {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            if waker.wake().is_err() {
                return;
            }
            // Requests that are late are sent at once.
            while due <= Instant::now() {
                due += between;
            }
        }
    });
}

fn uninterrupted(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == ErrorKind::Interrupted { Ok(()) } else { Err(error) }
}
