use std::io;

use super::*;

fn supervisor() -> (Supervisor, Ends, Shutdown, Panics) {
    let (shutdown, panics) = (Shutdown::new(), Panics::default());
    let (supervisor, ends) = Supervisor::new(shutdown.clone(), panics.clone());
    (supervisor, ends, shutdown, panics)
}

async fn end_of(work: impl Future<Output = Result<(), TaskError>> + Send + 'static) -> String {
    let (supervisor, mut ends, ..) = supervisor();
    supervisor.spawn(&Handle::current(), "watch", Need::Essential, work);
    chain(&ends.first().await)
}

#[tokio::test]
async fn an_essential_end_names_the_task() {
    let failed = end_of(async { Err(io::Error::other("disk gone").into()) }).await;
    assert_eq!(failed, "the task watch failed: disk gone");
    let panicked = end_of(async { panic!("index 3") }).await;
    assert!(panicked.starts_with("the task watch panicked") && panicked.ends_with("index 3"), "{panicked}");
    assert!(end_of(async { Ok(()) }).await.starts_with("the task watch ended while"), "returned");
}

#[tokio::test]
async fn useful_tasks_fail_alone() {
    let (supervisor, mut ends, _, panics) = supervisor();
    supervisor.spawn(&Handle::current(), "profile", Need::Useful, async { panic!("a bug") });
    supervisor.spawn(&Handle::current(), "notes", Need::Useful, async { Err("no".into()) });
    supervisor.ended().await;
    assert_eq!(panics.count(), 1);
    assert!(ends.0.try_recv().is_err());
}

#[tokio::test]
async fn ends_after_the_drain_began_are_expected() {
    let (supervisor, mut ends, shutdown, _) = supervisor();
    let drain = shutdown.drain().clone();
    supervisor.spawn(&Handle::current(), "watch", Need::Essential, async move {
        drain.cancelled().await;
        Err("interrupted".into())
    });
    shutdown.advance(Phase::Draining);
    supervisor.ended().await;
    assert!(ends.0.try_recv().is_err());
}
