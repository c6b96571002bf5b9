//! The boxes of `watch`, assembled, and the loop that shows what they do.

use std::{
    future::Future,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use everwire_client::{
    Client, ClientEvent, ConnectionState, DisconnectionSource, Message, PingRequest, Subscription,
};
use everwire_engine::{Engine, TungsteniteEngine};
use everwire_netmon::{NetworkMonitor, SystemMonitor};
use everwire_recovery::{ConnectionRecoveryHandler, Decision, MaxAttempts, StopReason};
use futures_util::{FutureExt as _, Stream, StreamExt as _, future, stream};
use tokio::{
    io::BufReader,
    sync::{mpsc, watch},
};

use super::{
    Printer,
    decoder::{Decoder, Event},
    feed::{self, Fed},
    line::Line,
    options::{Checked, ConnectedOn, Ping, Refusal, YesNo},
};
use crate::tap::{PingForm, Tap, Tapped};

/// How it ended.
pub(super) enum End {
    Graceful,
    /// No more attempts, for this reason.
    GaveUp(String),
    /// A second signal came while the end was under way.
    Interrupted,
}

/// How long after the end the last outcomes may take.
const LAST_WORDS: Duration = Duration::from_secs(3);

pub(super) async fn run(checked: Checked, printer: &Printer) -> Result<End, Refusal> {
    let signals = signals().map_err(|e| Refusal::Bad(format!("signals cannot be handled: {e}")))?;
    let (asides, mut aside) = mpsc::channel(64);
    let client = assemble(&checked, asides.clone())?;
    let mut events = client.subscribe();
    let monitor = monitor(&checked, asides)?;
    let (_recovery, mut decisions) = recover(&checked, &client, monitor)?;
    printer.remark(&format!("watching {}; Ctrl-C ends", checked.request.endpoint()));

    let (stop, stopped) = watch::channel(false);
    let (fed, mut feeding) = mpsc::channel(64);
    let feeder = (!checked.options.no_stdin).then(|| {
        let input = BufReader::new(tokio::io::stdin());
        tokio::spawn(feed::feed(input, client.clone(), fed.clone(), stopped))
    });
    drop(fed);

    // The outcome of each attempt shows in the states.
    tokio::spawn({
        let client = client.clone();
        async move { drop(client.connect().await) }
    });

    let mut show = Show { printer, no_recover: checked.options.no_recover, tried: false, end: None };
    let mut signals = pin!(signals);
    let mut input_done = None;
    let mut ending: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(future::pending());
    let mut is_ending = false;
    let end = loop {
        tokio::select! {
            biased;
            Some(decision) = decisions.next() => {
                // What led to a decision comes before it, and what a decision led to after it.
                if !matches!(decision, Decision::Connect { .. }) {
                    show.all(&mut events);
                }
                show.decision(&decision);
            }
            event = events.next() => match event {
                Some(event) => show.event(event),
                None => break End::Graceful,
            },
            Some(line) = aside.recv() => printer.print(&line),
            Some(fed) = feeding.recv() => match fed {
                Fed::Sent(line) => printer.print(&line),
                Fed::Done { lines } => input_done = Some(lines),
            },
            Some(()) = signals.next() => {
                if is_ending {
                    return Ok(End::Interrupted);
                }
                is_ending = true;
                ending = end_gracefully(&client);
            }
            () = &mut ending => break End::Graceful,
        }
        // Without a reader there is nothing left to do, so this is a graceful end like any other.
        if printer.is_closed() && !is_ending {
            is_ending = true;
            ending = end_gracefully(&client);
        }
        if let Some(why) = show.end.take().filter(|_| !printer.is_closed()) {
            break End::GaveUp(why);
        }
        // Without any line to send, the end of the input waits for the outcome of the first attempt, so that
        // `watch URL </dev/null` tells whether an endpoint answers.
        if let Some(lines) = input_done
            && (lines > 0 || show.tried)
            && !is_ending
        {
            is_ending = true;
            ending = end_gracefully(&client);
        }
    };
    // When it gave up, lines may still wait for a connection that will not come: they get their outcome.
    let last = async {
        stop.send_replace(true);
        if matches!(end, End::GaveUp(_)) {
            client.disconnect().await;
        } else {
            show.all(&mut events);
        }
        if feeder.is_some() {
            while let Some(Fed::Sent(line)) = feeding.recv().await {
                printer.print(&line);
            }
        }
    };
    // A line that is being read right now cannot be waited for.
    let _ = tokio::time::timeout(LAST_WORDS, last).await;
    Ok(end)
}

fn end_gracefully(client: &Client<Event>) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    let client = client.clone();
    Box::pin(async move { drop(client.disconnect().await) })
}

/// Prints what the client and recovery say, and notices the end.
struct Show<'a> {
    printer: &'a Printer,
    no_recover: bool,
    /// An attempt has succeeded or failed.
    tried: bool,
    /// Why there will be no other attempt.
    end: Option<String>,
}

impl Show<'_> {
    /// Prints what has happened until now.
    fn all(&mut self, events: &mut Subscription<Event>) {
        while let Some(Some(event)) = events.next().now_or_never() {
            self.event(event);
        }
    }

    fn event(&mut self, event: ClientEvent<Event>) {
        match event {
            ClientEvent::State(snapshot) => {
                self.printer.print(&Line::state(&snapshot));
                match &snapshot.state {
                    ConnectionState::Connected(_) => self.tried = true,
                    ConnectionState::Disconnected(source) => {
                        self.tried = true;
                        if self.no_recover && !matches!(source, DisconnectionSource::UserInitiated) {
                            self.end = Some(format!("{source}; --no-recover says not to reconnect"));
                        }
                    }
                    _ => {}
                }
            }
            ClientEvent::Event { event, .. } if !event.answer => {
                self.printer.print(&Line::message(&event.message));
            }
            ClientEvent::ReconnectSuggested => self.printer.remark("              a better path is there"),
            ClientEvent::ViabilityChanged(false) => self.printer.remark("              the path is doubtful"),
            _ => {}
        }
    }

    fn decision(&mut self, decision: &Decision) {
        self.printer.print(&Line::decision(decision));
        if let Decision::Stop { reason, attempts, .. } = decision
            && *reason != StopReason::UserDisconnected
        {
            let retries = match attempts {
                0 => "no retry".to_owned(),
                1 => "1 retry".to_owned(),
                n => format!("{n} retries"),
            };
            self.end = Some(format!("{reason} ({retries})"));
        }
    }
}

fn assemble(checked: &Checked, asides: mpsc::Sender<Line>) -> Result<Client<Event>, Refusal> {
    let options = &checked.options;
    let answered = Arc::new(AtomicBool::new(false));
    let form = if options.ping == Ping::Json { PingForm::HealthCheck } else { PingForm::Frame };
    let tap = Tap::new(engine(checked)?, form, {
        let answered = Arc::clone(&answered);
        move |tapped| {
            if let Tapped::Answered { rtt } = tapped {
                answered.store(form == PingForm::HealthCheck, Ordering::Relaxed);
                // A figure that nobody has room for is no loss.
                let _ = asides.try_send(Line::health(rtt));
            }
        }
    });
    let mut builder =
        everwire_client::ClientBuilder::with_requests(checked.request.clone(), Decoder { answered })
            .ping_config(checked.ping)
            .ping(match options.ping {
                Ping::Json => PingRequest::HealthCheck,
                Ping::Frame => PingRequest::Frame,
                Ping::None => PingRequest::Off,
            })
            .connected_on(match options.connected_on {
                ConnectedOn::Open => everwire_client::ConnectedOn::Open,
                ConnectedOn::HealthCheck => everwire_client::ConnectedOn::HealthCheck,
            });
    if let Some(auth) = options.auth.clone() {
        builder = builder.on_connection_established(move |handshake| {
            handshake.send(Message::text(auth.as_str()));
            async { Ok(()) }
        });
    }
    builder.build(tap).map_err(|error| Refusal::Bad(error.to_string()))
}

fn engine(checked: &Checked) -> Result<impl Engine, Refusal> {
    let mut builder = TungsteniteEngine::builder();
    if let Some(ca) = &checked.ca {
        builder = builder.add_root_certificate_pem(ca);
    }
    builder.build().map_err(|error| Refusal::Bad(super::line::with_causes(&error)))
}

/// The system's monitor, whose changes are shown too.
fn monitor(checked: &Checked, asides: mpsc::Sender<Line>) -> Result<impl NetworkMonitor, Refusal> {
    let endpoint = checked.request.endpoint();
    let monitor = SystemMonitor::towards(endpoint.host(), endpoint.port())
        .map_err(|error| Refusal::Bad(format!("the network monitor cannot start: {error}")))?;
    let mut last = None;
    Ok(monitor.inspect(move |status| {
        if last.replace(status.reachability) != Some(status.reachability) {
            let _ = asides.try_send(Line::network(status));
        }
    }))
}

type Decisions = Pin<Box<dyn Stream<Item = Decision> + Send>>;

/// Recovery beside the client; or nothing but the monitor, read for its lines.
fn recover(
    checked: &Checked,
    client: &Client<Event>,
    monitor: impl NetworkMonitor,
) -> Result<(Option<ConnectionRecoveryHandler>, Decisions), Refusal> {
    let options = &checked.options;
    if options.no_recover {
        return Ok((None, monitor.filter_map(|_| future::ready(None)).chain(stream::pending()).boxed()));
    }
    let mut builder = ConnectionRecoveryHandler::builder(client.clone().into_background())
        .monitor(monitor)
        .retry_initial(options.retry_initial == YesNo::Yes);
    if let Some(attempts) = options.max_attempts {
        builder = builder.policy(MaxAttempts::new(attempts.get()));
    }
    if let Some(seed) = options.seed {
        builder = builder.seed(seed);
    }
    let recovery = builder.spawn().map_err(|error| Refusal::Bad(error.to_string()))?;
    let decisions = recovery.decisions().boxed();
    Ok((Some(recovery), decisions))
}

/// SIGINT and SIGTERM, as often as they come.
#[cfg(unix)]
fn signals() -> io::Result<impl Stream<Item = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(stream::poll_fn(move |cx| {
        if let std::task::Poll::Ready(got) = interrupt.poll_recv(cx) {
            return std::task::Poll::Ready(got);
        }
        terminate.poll_recv(cx)
    }))
}

/// Ctrl-C, as often as it comes.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the other system's form can fail")]
fn signals() -> io::Result<impl Stream<Item = ()>> {
    Ok(stream::unfold((), |()| async { tokio::signal::ctrl_c().await.ok().map(|()| ((), ())) }))
}
