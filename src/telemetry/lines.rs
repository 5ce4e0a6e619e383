//! Lines of the log on their way to standard error.
//!
//! Written one by one, with a call of the system each and every thread waiting for the others, they would be a fifth of
//! what a small request costs. They wait a moment for company instead, and a thread of their own writes them, in their
//! order; a line that calls for attention takes those before it along at once.

use std::io::{self, Write};
use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// How long a line waits for others.
const COMPANY: Duration = Duration::from_millis(2);
/// So many bytes do not wait: whoever adds to them writes them.
const MUCH: usize = 1 << 16;
/// As many bytes go into a pipe in one piece on every system that we know (`PIPE_BUF` of Linux).
const PIECE: usize = 4096;

/// Where lines wait.
#[derive(Debug)]
pub(super) struct Lines<W>(Arc<Shared<W>>);

#[derive(Debug)]
struct Shared<W> {
    waiting: Mutex<Waiting>,
    some: Condvar,
    /// Held from the taking of lines until they are written, so that none overtakes another.
    out: Mutex<Out<W>>,
}

#[derive(Debug)]
struct Out<W> {
    to: W,
    /// Room for what waits while this is written.
    room: Vec<u8>,
}

#[derive(Debug, Default)]
struct Waiting {
    text: Vec<u8>,
    /// Whether the thread waits to be told of the next line. While lines come it looks by itself.
    asleep: bool,
    ended: bool,
}

/// Writes lines until it is dropped, which waits for the last of them.
#[derive(Debug)]
pub(super) struct Writing<W: Write + Send + 'static> {
    lines: Lines<W>,
    thread: Option<JoinHandle<()>>,
}

/// One line.
pub(super) struct Line<'a, W> {
    lines: &'a Lines<W>,
    urgent: bool,
}

impl<W> Clone for Lines<W> {
    fn clone(&self) -> Self {
        Lines(self.0.clone())
    }
}

impl<W: Write + Send + 'static> Lines<W> {
    /// Lines that are written to `out`.
    pub fn start(out: W) -> io::Result<(Lines<W>, Writing<W>)> {
        let shared = Shared {
            waiting: Mutex::default(),
            some: Condvar::new(),
            out: Mutex::new(Out { to: out, room: Vec::new() }),
        };
        let lines = Lines(Arc::new(shared));
        let writer = lines.clone();
        let thread = std::thread::Builder::new().name("log".into()).spawn(move || writer.run())?;
        Ok((lines.clone(), Writing { lines, thread: Some(thread) }))
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut idle = true;
        loop {
            let ended = if idle { self.sleep() } else { self.waiting().ended };
            if !ended {
                std::thread::sleep(COMPANY);
            }
            idle = self.flush() == 0;
            if ended {
                return;
            }
        }
    }

    /// Waits until there is something to do. Answers whether it is the last.
    fn sleep(&self) -> bool {
        let mut waiting = self.waiting();
        while waiting.text.is_empty() && !waiting.ended {
            waiting.asleep = true;
            waiting = self.0.some.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        waiting.asleep = false;
        waiting.ended
    }

    /// Writes what waits, and answers how many bytes that was. Where nobody reads it, it is gone, as it always was.
    fn flush(&self) -> usize {
        let mut out = self.0.out.lock().unwrap_or_else(PoisonError::into_inner);
        let Out { to, room } = &mut *out;
        room.clear();
        room.shrink_to(MUCH);
        mem::swap(room, &mut self.waiting().text);
        let mut rest = room.as_slice();
        while !rest.is_empty() {
            let end = whole_lines(rest);
            drop(to.write_all(&rest[..end]));
            rest = &rest[end..];
        }
        drop(to.flush());
        room.len()
    }
}

/// How many bytes are as many lines as a pipe takes in one piece, between those of others; a longer line is by itself.
fn whole_lines(text: &[u8]) -> usize {
    let ends = |part: &[u8]| part.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
    let first = || text.iter().position(|byte| *byte == b'\n').map_or(text.len(), |at| at + 1);
    ends(&text[..text.len().min(PIECE)]).unwrap_or_else(first)
}

impl<W: Write + Send + 'static> Write for Line<'_, W> {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        let mut waiting = self.lines.waiting();
        waiting.text.extend_from_slice(text);
        // Once the thread has gone, nobody else would write it.
        let now = self.urgent || waiting.ended || waiting.text.len() > MUCH;
        let wake = !now && mem::take(&mut waiting.asleep);
        drop(waiting);
        if now {
            self.lines.flush();
        } else if wake {
            self.lines.0.some.notify_one();
        }
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a, W: Write + Send + 'static> MakeWriter<'a> for Lines<W> {
    type Writer = Line<'a, W>;

    fn make_writer(&'a self) -> Line<'a, W> {
        Line { lines: self, urgent: true }
    }

    fn make_writer_for(&'a self, what: &Metadata<'_>) -> Line<'a, W> {
        Line { lines: self, urgent: *what.level() <= Level::WARN }
    }
}

impl<W: Write + Send + 'static> Drop for Writing<W> {
    fn drop(&mut self) {
        self.lines.waiting().ended = true;
        self.lines.0.some.notify_one();
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Shows what is written, call by call.
    struct Calls(mpsc::Sender<String>);

    impl Write for Calls {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            if !text.is_empty() {
                self.0.send(String::from_utf8(text.to_vec()).unwrap()).unwrap();
            }
            Ok(text.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn say(lines: &Lines<Calls>, urgent: bool, text: &str) {
        Line { lines, urgent }.write_all(text.as_bytes()).unwrap();
    }

    #[test]
    fn lines_of_many_threads_arrive_whole_and_each_thread_s_in_their_order() {
        let (calls, written) = mpsc::channel();
        let (lines, writing) = Lines::start(Calls(calls)).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let lines = &lines;
                scope.spawn(move || (0..500).for_each(|n| say(lines, n % 97 == 0, &format!("{thread} {n}\n"))));
            }
        });
        drop(writing);
        drop(lines);
        let text: String = written.iter().collect();
        for thread in 0..4 {
            let prefix = format!("{thread} ");
            let own: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(&prefix)).collect();
            assert_eq!(own, (0..500).map(|n| n.to_string()).collect::<Vec<_>>());
        }
        assert_eq!(text.lines().count(), 2000);
    }

    #[test]
    fn lines_are_written_without_more_to_come_after_any_pause() {
        let (calls, written) = mpsc::channel();
        let (lines, writing) = Lines::start(Calls(calls)).unwrap();
        for text in ["a\n", "b\n", "c\n"] {
            say(&lines, false, text);
            assert_eq!(written.recv().unwrap(), text);
        }
        drop(writing);
        say(&lines, false, "late\n");
        assert_eq!(written.recv().unwrap(), "late\n");
    }

    #[test]
    fn whole_lines_are_written_as_many_as_fit_a_piece() {
        let line = |length: usize| format!("{}\n", "x".repeat(length - 1));
        for (text, end) in [
            (line(100), 100),
            (line(100) + "half", 100),
            ("half".into(), 4),
            (line(4000) + &line(96) + &line(5), 4096),
            (line(4000) + &line(97), 4000),
            (line(5000) + &line(7), 5000),
        ] {
            assert_eq!(whole_lines(text.as_bytes()), end, "{}", text.len());
        }
    }

    #[test]
    fn what_calls_for_attention_is_written_before_it_is_done_with_what_came_before() {
        let (calls, written) = mpsc::channel();
        let (lines, writing) = Lines::start(Calls(calls)).unwrap();
        say(&lines, false, "a\n");
        say(&lines, true, "b\n");
        let text: String = written.try_iter().collect();
        assert_eq!(text, "a\nb\n");
        drop(writing);
        say(&lines, false, "late\n");
        assert_eq!(written.try_iter().collect::<String>(), "late\n");
    }
}
