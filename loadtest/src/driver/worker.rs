//! A generator process beside the first one: the same threads, commands and mail, as lines of
//! JSON on its standard streams.
//!
//! ```text
//! parent   Worker::start --tasks, commands--> stdin   serve   child
//!          mail          <--------------------- stdout
//! ```
//!
//! A process may open so many files and no more, so a large run takes several. All of them read
//! one clock, which is why moments can be told as numbers.

use std::env;
use std::io::{self, BufRead, BufReader, Write, stdin, stdout};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command as Program, Stdio, exit};
use std::sync::mpsc;
use std::thread;

use super::mail::{Command, Mail, Task};
use super::start_thread;

/// The subcommand that makes a process a worker.
const SUBCOMMAND: &str = "worker";

/// A worker process, from the parent's side. Dropping it kills the process.
pub(super) struct Worker {
    child: Child,
    /// Held so that its standard input stays open: the end of it means that we are gone.
    _commands: mpsc::Sender<Command>,
}

impl Worker {
    /// Starts a process for `tasks`. What it has to say comes as mail; commands that are sent to
    /// the other end it is told.
    pub(super) fn start(
        tasks: Vec<Task>,
        mail: mpsc::Sender<Mail>,
    ) -> io::Result<(Self, mpsc::Sender<Command>)> {
        let mut program = Program::new(env::current_exe()?);
        // Its own process group: Ctrl-C reaches us alone, and the run ends in order.
        program.arg(SUBCOMMAND).process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = program.spawn()?;
        let mut to_child = child.stdin.take().expect("stdin is piped");
        let from_child = child.stdout.take().expect("stdout is piped");
        let shares_count = tasks.len();
        write_line(&mut to_child, &tasks)?;
        let (commands, inbox) = mpsc::channel::<Command>();
        thread::Builder::new().name("worker-commands".to_owned()).spawn(move || {
            for command in inbox {
                // A child that is gone is noticed where its mail is read.
                let _ = write_line(&mut to_child, &command);
            }
        })?;
        thread::Builder::new().name("worker-mail".to_owned()).spawn(move || {
            if let Err(error) = forward(BufReader::new(from_child), shares_count, &mail) {
                let _ = mail.send(Mail::Failed(format!("a worker process ended early: {error}")));
            }
        })?;
        Ok((Self { child, _commands: commands.clone() }, commands))
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the process has ended by itself.
    pub(super) fn join(mut self) -> io::Result<()> {
        let status = self.child.wait()?;
        if status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("a worker process failed: {status}")))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Both say nothing new when it has ended and was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Hands on mail until every share's books are closed, and reads on to the end: a child that
/// still says goodbye to its server must not write into a pipe that nobody reads.
fn forward(lines: impl BufRead, shares_count: usize, mail: &mpsc::Sender<Mail>) -> io::Result<()> {
    let mut open = shares_count;
    for line in lines.lines() {
        let line = line?;
        if open == 0 {
            continue;
        }
        let message: Mail = serde_json::from_str(&line)?;
        open -= usize::from(matches!(message, Mail::Finished(_)));
        // A conductor that is gone has failed, and says so itself.
        let _ = mail.send(message);
    }
    if open == 0 { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// The child's side: drives the tasks on standard input until their books are closed.
///
/// # Errors
/// The parent is gone or does not speak our language, or a thread failed.
pub fn serve() -> io::Result<()> {
    let mut lines = BufReader::new(stdin()).lines();
    let first = lines.next().ok_or(io::ErrorKind::UnexpectedEof)??;
    let tasks: Vec<Task> = serde_json::from_str(&first)?;
    let (sender, mail) = mpsc::channel();
    let (mut threads, mut inboxes) = (Vec::new(), Vec::new());
    for task in tasks {
        let (thread, inbox) = start_thread(task, sender.clone())?;
        threads.push(thread);
        inboxes.push(inbox);
    }
    drop(sender);
    thread::Builder::new().name("commands".to_owned()).spawn(move || {
        for line in lines.map_while(Result::ok) {
            let Ok(command) = serde_json::from_str::<Command>(&line) else { exit(1) };
            for inbox in &inboxes {
                // A thread that is gone has finished or failed, which joining it says.
                let _ = inbox.send(command);
            }
        }
        // Without a parent there is nobody to measure for.
        exit(1)
    })?;
    let mut to_parent = stdout().lock();
    for message in mail {
        write_line(&mut to_parent, &message)?;
    }
    for thread in threads {
        thread.join().map_err(|_| io::Error::other("a generator thread panicked"))??;
    }
    Ok(())
}

fn write_line(out: &mut impl Write, message: &impl serde::Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    out.write_all(&line)?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_ends_with_the_last_books_and_an_early_end_is_an_error() {
        let books = r#"{"Finished":{"share":0,"ledgers":[],"tally":TALLY,
            "health":{"busy_us":1,"wall_us":2,"cpu_us":1}}}"#;
        let tally = serde_json::to_string(&crate::tally::Tally::default()).expect("JSON");
        let books = books.replace('\n', " ").replace("TALLY", &tally);
        for (name, text, messages, ends_well) in [
            ("all", format!("\"Settled\"\n{books}\n"), 2, true),
            ("cut off", "\"Settled\"\n".to_owned(), 1, false),
            ("nothing", String::new(), 0, false),
            ("another language", "hello\n".to_owned(), 0, false),
            ("more than its books", format!("{books}\n\"Settled\"\n"), 1, true),
        ] {
            let (sender, mail) = mpsc::channel();
            let result = forward(text.as_bytes(), 1, &sender);
            drop(sender);
            assert_eq!((mail.iter().count(), result.is_ok()), (messages, ends_well), "{name}");
        }
    }
}
