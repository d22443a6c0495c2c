//! A child process, and what the kernel says that it has cost.

use crate::job::WORKERS;
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a child has cost.
#[derive(Debug, Clone)]
pub struct Cost {
    /// User and system time.
    pub cpu: Duration,
    /// From its start to its end.
    pub wall: Duration,
    /// The most that was resident at once.
    pub peak_rss_mib: f64,
    /// What it printed.
    pub output: String,
}

/// Runs a child to its end, with `meanwhile` beside it. An error is what it said last.
pub fn run(command: &[String], meanwhile: impl FnOnce()) -> Result<Cost, String> {
    let start = Instant::now();
    let spawned = Command::new(&command[0])
        .args(&command[1..])
        .env("TOKIO_WORKER_THREADS", WORKERS.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = spawned.map_err(|error| format!("{}: {error}", command[0]))?;
    let collect = |mut pipe: Box<dyn Read + Send>| {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = pipe.read_to_end(&mut bytes); // as much of it as there is
            String::from_utf8_lossy(&bytes).into_owned()
        })
    };
    let output = collect(Box::new(child.stdout.take().expect("it is piped")));
    let errors = collect(Box::new(child.stderr.take().expect("it is piped")));
    meanwhile();
    let ended = wait(child.id(), start);
    let (output, errors) = (output.join().unwrap_or_default(), errors.join().unwrap_or_default());
    match ended {
        Some((0, usage)) => Ok(Cost {
            cpu: duration(usage.ru_utime) + duration(usage.ru_stime),
            wall: start.elapsed(),
            peak_rss_mib: usage.ru_maxrss as f64 / 1024.0,
            output,
        }),
        ended => {
            let how = ended.map_or("not done in time".to_owned(), |(status, _)| format!("status {status}"));
            let said: Vec<&str> = errors.lines().chain(output.lines()).filter(|line| !line.trim().is_empty()).collect();
            Err(format!("{how}: {}", said[..said.len().min(3)].join(" / ")))
        }
    }
}

/// The child's status and usage; `None` if it had to be killed.
fn wait(pid: u32, start: Instant) -> Option<(i32, libc::rusage)> {
    let pid = pid as libc::pid_t;
    let mut killed = false;
    loop {
        let mut status = 0;
        // SAFETY: an all-zero rusage is a value of it, wait4 writes to nothing but these two, and the child is ours and
        // not waited for elsewhere.
        let (waited, usage) = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            (libc::wait4(pid, &mut status, libc::WNOHANG, &mut usage), usage)
        };
        assert!(waited >= 0, "wait4: {}", std::io::Error::last_os_error());
        if waited == pid {
            return (!killed).then_some((status, usage));
        }
        if !killed && start.elapsed() > PATIENCE {
            // SAFETY: a signal to a child that was not waited for yet, so the id is its.
            unsafe { libc::kill(pid, libc::SIGKILL) };
            killed = true;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn duration(time: libc::timeval) -> Duration {
    Duration::new(time.tv_sec as u64, time.tv_usec as u32 * 1000)
}
