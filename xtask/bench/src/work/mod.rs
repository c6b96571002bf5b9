//! The measurements, each for the contenders that it makes sense for. They run in a child, on one core, in a runtime
//! of one thread.

mod connect;
mod echo;
mod many;
mod memory;
mod receive;
mod send;

use crate::{
    measure,
    peers::Outcome,
    task::{Measures, Task, Work},
};

/// Measures; prints one line of JSON, or says what went wrong.
pub(crate) fn run(core: usize, task: &Task) -> bool {
    measure::pin(core);
    measure::raise_file_limit();
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(measure(task)));
    match outcome.and_then(|measures| Ok(serde_json::to_string(&measures)?)) {
        Ok(line) => {
            println!("{line}");
            true
        }
        Err(error) => {
            eprintln!("{} at {:?}: {error}", task.contender.name(), task.work);
            false
        }
    }
}

async fn measure(task: &Task) -> Outcome<Measures> {
    match task.work {
        Work::Receive { size, count, rate, delivery } => {
            receive::receive(task, &crate::server::path(size, count, rate), count, delivery).await
        }
        Work::Hold { size, count } => {
            receive::hold(task, &crate::server::path(size, count, None), count).await
        }
        Work::Json { count } => receive::json(task, &crate::server::path(0, count, None), count).await,
        Work::Send { size, count } => send::send(task, size, count).await,
        Work::Echo { count, delivery } => echo::echo(task, count, delivery).await,
        Work::Idle { connections, tls, burst } => memory::idle(task, connections, tls, burst).await,
        Work::Behind { count } => memory::behind(task, count).await,
        Work::Allocations { count, sent } => memory::allocations(task, count, sent).await,
        Work::Pings { connections, interval, seconds } => {
            many::pings(task, connections, interval, seconds).await
        }
        Work::Many { connections, count } => many::many(task, connections, count).await,
        Work::Fan { subscribers, count } => many::fan(task, subscribers, count).await,
        Work::Churn { connections, tls } => connect::churn(task, connections, tls).await,
    }
}

/// A contender that has no such thing.
fn cannot<T>(task: &Task) -> Outcome<T> {
    Err(format!("{} is not measured at this", task.contender.name()).into())
}

/// Waits for what a handler will tell.
async fn told(mut told: tokio::sync::mpsc::UnboundedReceiver<Measures>) -> Outcome<Measures> {
    told.recv().await.ok_or_else(|| "the client ended before all messages were there".into())
}
