use super::*;
use crate::connect::Connecting;
use crate::error::ErrorCode;
use crate::wire::messages::api_versions_response::ApiVersion;
use crate::wire::messages::{ApiVersionsResponse, HeartbeatRequest, HeartbeatResponse};
use std::io;
use std::sync::Mutex;
use tokio::io::{AsyncReadExt, DuplexStream, duplex};

/// Gives out the client's ends of pipes whose other ends the test plays the broker on.
#[derive(Debug)]
struct Pipes(Mutex<VecDeque<DuplexStream>>);

impl Connect for Pipes {
    fn connect(&self, _host: &str, _port: u16) -> Connecting {
        let next = self.0.lock().unwrap().pop_front();
        Box::pin(async move { Ok(Box::new(next.ok_or(io::ErrorKind::ConnectionRefused)?) as BoxStream) })
    }
}

fn pipes<const N: usize>() -> (Pipes, [DuplexStream; N]) {
    let (ours, theirs): (Vec<_>, Vec<_>) = (0..N).map(|_| duplex(1 << 20)).unzip();
    (Pipes(Mutex::new(ours.into())), theirs.try_into().unwrap())
}

/// Reads one request: key, version, correlation id, and the frame.
async fn read(peer: &mut DuplexStream) -> io::Result<(i16, i16, i32, Bytes)> {
    let length = peer.read_i32().await? as usize;
    let mut frame = vec![0; length];
    peer.read_exact(&mut frame).await?;
    let (key, version, correlation_id) = request::peek_request(&frame).unwrap();
    Ok((key, version, correlation_id, frame.into()))
}

async fn answer<R: Request>(peer: &mut DuplexStream, response: &R::Response, version: i16, correlation_id: i32) {
    peer.write_all(&request::encode_response::<R>(response, version, correlation_id).unwrap()).await.unwrap();
}

fn versions() -> ApiVersionsResponse {
    let api = |key| ApiVersion::default().with_api_key(key).with_min_version(0).with_max_version(4);
    ApiVersionsResponse::default().with_api_keys(vec![api(12), api(18)])
}

async fn accept(peer: &mut DuplexStream) {
    let (key, version, correlation_id, _) = read(peer).await.unwrap();
    assert_eq!(key, 18);
    answer::<ApiVersionsRequest>(peer, &versions(), version, correlation_id).await;
}

async fn open(connect: &Pipes, tasks: &Tasks) -> Result<Connection> {
    let config = ConnectionConfig {
        client_id: "me".into(),
        setup_timeout: Duration::from_secs(10),
        security: Security::default(),
    };
    Connection::open(connect, ("b1", 9092), Some(NodeId(1)), &config, (tasks, &Arc::default(), 7)).await
}

async fn opened() -> (Connection, DuplexStream, Tasks) {
    let (connect, [mut peer]) = pipes::<1>();
    let tasks = Tasks::new().unwrap();
    let (connection, ()) = tokio::join!(open(&connect, &tasks), accept(&mut peer));
    (connection.unwrap(), peer, tasks)
}

fn beat(connection: &Connection) -> impl Future<Output = Result<HeartbeatResponse>> + Send + 'static {
    let connection = connection.clone();
    async move { connection.call(&HeartbeatRequest::default(), 3, Duration::from_secs(30)).await }
}

#[tokio::test(start_paused = true)]
async fn a_call_is_answered_and_a_dropped_call_takes_nobody_elses_answer() {
    let (connection, mut peer, _tasks) = opened().await;
    let first = tokio::spawn(beat(&connection));
    let (_, version, one, _) = read(&mut peer).await.unwrap();
    first.abort();
    let second = tokio::spawn(beat(&connection));
    let (_, _, two, _) = read(&mut peer).await.unwrap();
    for (id, code) in [(one, 15), (two, 27)] {
        answer::<HeartbeatRequest>(&mut peer, &HeartbeatResponse::default().with_error_code(code), version, id).await;
    }
    let answered = second.await.unwrap().unwrap();
    assert_eq!(ErrorCode::from_wire(answered.error_code), Some(ErrorCode::RebalanceInProgress));
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_in_time_ends_the_connection_and_says_what_was_asked_of_whom() {
    let (connection, mut peer, _tasks) = opened().await;
    let error = beat(&connection).await.unwrap_err();
    assert!(error.is_timeout(), "{error:?}");
    assert_eq!(error.to_string(), "Heartbeat to node 1 at b1:9092: no answer in time (it may have been written)");
    assert_eq!(error.delivery_certainty(), Some(Certainty::PossiblySent));
    read(&mut peer).await.unwrap();
    assert!(read(&mut peer).await.is_err(), "closed");
    let error = beat(&connection).await.unwrap_err();
    assert_eq!(error.delivery_certainty(), Some(Certainty::NotSent), "poisoned: {error}");
    assert!(connection.is_closed());
}

#[tokio::test(start_paused = true)]
async fn everything_in_flight_fails_when_the_peer_goes() {
    let (connection, mut peer, tasks) = opened().await;
    let calls = [tokio::spawn(beat(&connection)), tokio::spawn(beat(&connection))];
    read(&mut peer).await.unwrap();
    read(&mut peer).await.unwrap();
    drop(peer);
    for call in calls {
        let error = call.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Connection);
        assert_eq!(error.delivery_certainty(), Some(Certainty::PossiblySent));
    }
    tokio::task::yield_now().await;
    assert_eq!(tasks.live(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_to_another_request_ends_the_connection() {
    let (connection, mut peer, _tasks) = opened().await;
    let call = tokio::spawn(beat(&connection));
    let (_, version, id, _) = read(&mut peer).await.unwrap();
    answer::<HeartbeatRequest>(&mut peer, &HeartbeatResponse::default(), version, id + 1).await;
    assert_eq!(call.await.unwrap().unwrap_err().kind(), ErrorKind::Malformed);
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_closes_the_connection_and_leaves_no_task() {
    let (connection, mut peer, tasks) = opened().await;
    let call = tokio::spawn(beat(&connection));
    read(&mut peer).await.unwrap();
    assert_eq!(tasks.live(), 1);
    drop(connection);
    call.abort();
    assert!(read(&mut peer).await.is_err(), "closed");
    tokio::task::yield_now().await;
    assert_eq!(tasks.live(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_registers_none() {
    let (connection, mut peer, _tasks) = opened().await;
    let piece = Bytes::from_static(&[0, 0, 0, 8, 0, 0, 0, 9, 0, 0, 0, 77]);
    connection.send(0, 77, vec![piece], Answer::None, Duration::from_secs(1)).await.unwrap();
    assert_eq!(read(&mut peer).await.unwrap().2, 77);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!connection.is_closed(), "nobody waits for an answer that never comes");
}

/// As `opened`, over a pipe of 64 bytes.
async fn opened_narrowly() -> (Connection, DuplexStream, Tasks) {
    let (ours, mut peer) = duplex(64);
    let (connect, tasks) = (Pipes(Mutex::new([ours].into())), Tasks::new().unwrap());
    let (connection, ()) = tokio::join!(open(&connect, &tasks), accept(&mut peer));
    (connection.unwrap(), peer, tasks)
}

/// Its write had no deadline: it waited as long as the socket hung, and so did the task when every handle was gone.
#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_that_the_peer_does_not_take_in_time_ends_the_connection() {
    let (connection, _peer, tasks) = opened_narrowly().await;
    let start = Instant::now();
    let stuck = connection.send(0, 77, vec![vec![0; 1 << 20].into()], Answer::None, Duration::from_secs(1));
    drop(connection);
    let error = tokio::time::timeout(Duration::from_secs(600), stuck).await.expect("it has an end").unwrap_err();
    assert!(error.is_timeout() && error.to_string().starts_with("Produce to node 1"), "{error}");
    assert_eq!(error.delivery_certainty(), Some(Certainty::PossiblySent));
    assert!(start.elapsed() < Duration::from_secs(2));
    tokio::task::yield_now().await;
    assert_eq!(tasks.live(), 0);
}

/// On a connection that never has nothing to write it would be late although it is written.
#[tokio::test(start_paused = true)]
async fn a_request_without_an_answer_waits_for_its_own_bytes_and_not_for_what_is_behind_them() {
    let (connection, _peer, _tasks) = opened_narrowly().await;
    let small = connection.send(0, 77, vec![vec![0; 12].into()], Answer::None, Duration::from_secs(1));
    let large = connection.send(12, 78, vec![vec![0; 1 << 20].into()], Answer::Expected, Duration::from_secs(5));
    small.await.unwrap();
    assert!(large.await.unwrap_err().is_timeout());
}

#[tokio::test(start_paused = true)]
async fn a_reset_on_api_versions_v4_is_met_with_v3_on_a_new_connection() {
    let (connect, [first, mut second]) = pipes::<2>();
    let tasks = Tasks::new().unwrap();
    let broker = async {
        drop(first);
        let (_, version, correlation_id, _) = read(&mut second).await.unwrap();
        assert_eq!(version, 3);
        answer::<ApiVersionsRequest>(&mut second, &versions(), version, correlation_id).await;
    };
    let (connection, ()) = tokio::join!(open(&connect, &tasks), broker);
    connection.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_accepts_and_says_nothing_is_given_up_within_the_setup_timeout() {
    let (connect, [_peer]) = pipes::<1>();
    let error = open(&connect, &Tasks::new().unwrap()).await.unwrap_err();
    assert!(error.is_timeout() && error.to_string().contains("b1:9092"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn produce_requests_are_counted_and_others_are_not() {
    let (connect, [mut peer]) = pipes::<1>();
    let (tasks, traffic) = (Tasks::new().unwrap(), Arc::<Traffic>::default());
    let config = ConnectionConfig {
        client_id: "me".into(),
        setup_timeout: Duration::from_secs(10),
        security: Security::default(),
    };
    let opening = Connection::open(&connect, ("b1", 9092), None, &config, (&tasks, &traffic, 7));
    let (connection, ()) = tokio::join!(opening, accept(&mut peer));
    let connection = connection.unwrap();
    for (key, id) in [(0, 76), (12, 77), (0, 78)] {
        let piece = [&[0, 0, 0, 8, 0, key as u8, 0, 9, 0, 0, 0, id as u8][..]].concat();
        connection.send(key, id, vec![piece.into()], Answer::None, Duration::from_secs(1)).await.unwrap();
    }
    assert_eq!(traffic.produce_requests.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_is_no_plaintext_kafka_is_told_by_its_first_bytes() {
    let alert: &[u8] = &[0x15, 3, 3, 0, 2, 2, 0x46];
    for (bytes, kind, what) in [
        (alert, ErrorKind::Tls, "TLS listener spoken to in plaintext; set security.protocol"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ErrorKind::Malformed, "HTTP server"),
    ] {
        let (connect, [mut peer]) = pipes::<1>();
        let tasks = Tasks::new().unwrap();
        let (opened, ()) = tokio::join!(open(&connect, &tasks), async {
            peer.write_all(bytes).await.unwrap();
            drop(peer);
        });
        let error = opened.unwrap_err();
        assert!(error.kind() == kind && error.to_string().contains(what), "{error}");
        assert!(!error.is_retriable());
    }
}

mod renewal {
    //! KIP-368, against a peer that this test plays.

    use super::*;
    use crate::net::clock::NetClock;
    use crate::net::security::Security;
    use crate::sasl::{Plain, SaslMechanism, SaslMessage, SaslSession, Starting};
    use crate::wire::messages::{
        SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest, SaslHandshakeResponse,
    };

    async fn open_as(mechanism: impl SaslMechanism, connect: &Pipes, tasks: &Tasks) -> Result<Connection> {
        let security = Security::new(Some(Arc::new(mechanism)), NetClock::System);
        let config = ConnectionConfig { client_id: "me".into(), setup_timeout: Duration::from_secs(10), security };
        Connection::open(connect, ("b1", 9092), Some(NodeId(1)), &config, (tasks, &Arc::default(), 7)).await
    }

    fn has_sasl() -> ApiVersionsResponse {
        let api = |key, max| ApiVersion::default().with_api_key(key).with_min_version(0).with_max_version(max);
        ApiVersionsResponse::default().with_api_keys(vec![api(12, 4), api(17, 1), api(18, 4), api(36, 2)])
    }

    /// Reads a request of this kind and answers it.
    async fn serve<R: Request>(peer: &mut DuplexStream, response: R::Response) {
        let (key, version, id, _) = read(peer).await.unwrap();
        assert_eq!(key, R::KEY);
        answer::<R>(peer, &response, version, id).await;
    }

    async fn authenticate(peer: &mut DuplexStream, lifetime_ms: i64) {
        serve::<SaslHandshakeRequest>(peer, SaslHandshakeResponse::default()).await;
        let response = SaslAuthenticateResponse::default().with_session_lifetime_ms(lifetime_ms);
        serve::<SaslAuthenticateRequest>(peer, response).await;
    }

    async fn opened_for(lifetime_ms: i64) -> (Connection, DuplexStream, Tasks) {
        let (connect, [mut peer]) = pipes::<1>();
        let tasks = Tasks::new().unwrap();
        let (connection, ()) = tokio::join!(open_as(Plain::new("alice", "pw"), &connect, &tasks), async {
            serve::<ApiVersionsRequest>(&mut peer, has_sasl()).await;
            authenticate(&mut peer, lifetime_ms).await;
        });
        (connection.unwrap(), peer, tasks)
    }

    fn beat_within(connection: &Connection, seconds: u64) -> impl Future<Output = Result<HeartbeatResponse>> + 'static {
        let connection = connection.clone();
        async move { connection.call(&HeartbeatRequest::default(), 3, Duration::from_secs(seconds)).await }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_says_again_who_it_is_before_its_time_is_up_and_nothing_comes_in_between() {
        let (connection, mut peer, _tasks) = opened_for(100_000).await;
        tokio::time::sleep(Duration::from_secs(84)).await;
        let parked = tokio::spawn(beat_within(&connection, 305));
        let (key, version, id, _) = read(&mut peer).await.unwrap();
        assert_eq!(key, 12, "what came before is under way");
        tokio::time::sleep(Duration::from_secs(12)).await;
        let first = tokio::spawn(beat(&connection));
        let (handshake, handshake_version, handshake_id, _) = read(&mut peer).await.unwrap();
        assert_eq!(handshake, 17, "the request whose time it is waits");
        let second = tokio::spawn(beat(&connection));
        tokio::time::sleep(Duration::from_secs(25)).await; // longer than a renewal may take: a broker answers in order
        answer::<HeartbeatRequest>(&mut peer, &HeartbeatResponse::default(), version, id).await;
        parked.await.unwrap().unwrap();
        let shaken = SaslHandshakeResponse::default();
        answer::<SaslHandshakeRequest>(&mut peer, &shaken, handshake_version, handshake_id).await;
        let response = SaslAuthenticateResponse::default().with_session_lifetime_ms(100_000);
        serve::<SaslAuthenticateRequest>(&mut peer, response).await; // and neither of the heartbeats
        for held in [first, second] {
            serve::<HeartbeatRequest>(&mut peer, HeartbeatResponse::default()).await;
            held.await.unwrap().unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_waited_for_a_renewal_and_has_no_time_left_is_not_sent_and_ends_nothing() {
        let (connection, mut peer, _tasks) = opened_for(10_000).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        let short = [tokio::spawn(beat_within(&connection, 1)), tokio::spawn(beat_within(&connection, 2))];
        let long = tokio::spawn(beat_within(&connection, 30));
        serve::<SaslHandshakeRequest>(&mut peer, SaslHandshakeResponse::default()).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let response = SaslAuthenticateResponse::default().with_session_lifetime_ms(10_000);
        serve::<SaslAuthenticateRequest>(&mut peer, response).await;
        serve::<HeartbeatRequest>(&mut peer, HeartbeatResponse::default()).await;
        long.await.unwrap().unwrap();
        for short in short {
            let error = short.await.unwrap().unwrap_err();
            assert_eq!((error.kind(), error.delivery_certainty()), (ErrorKind::Timeout, Some(Certainty::NotSent)));
        }
        assert!(!connection.is_closed());
    }

    /// Has a token now and then.
    #[derive(Debug, Default)]
    struct Flaky(AtomicI32);

    impl SaslMechanism for Flaky {
        fn name(&self) -> &str {
            "FLAKY"
        }

        fn start<'a>(&'a self, _: &'a crate::sasl::SaslPeer) -> Starting<'a> {
            let has_one = self.0.fetch_add(1, Ordering::Relaxed) % 2 == 0;
            Box::pin(async move {
                if !has_one {
                    return Err(Error::with_message(ErrorKind::Connection, "no token just now"));
                }
                Ok((SaslMessage::default(), Box::new(crate::sasl::SaidAll("FLAKY")) as Box<dyn SaslSession>))
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_token_just_now_is_no_end_while_the_session_lasts() {
        let (connect, [mut peer]) = pipes::<1>();
        let tasks = Tasks::new().unwrap();
        let (connection, ()) = tokio::join!(open_as(Flaky::default(), &connect, &tasks), async {
            serve::<ApiVersionsRequest>(&mut peer, has_sasl()).await;
            authenticate(&mut peer, 1_000_000).await;
        });
        let connection = connection.unwrap();
        tokio::time::sleep(Duration::from_secs(951)).await;
        let call = tokio::spawn(beat(&connection));
        serve::<HeartbeatRequest>(&mut peer, HeartbeatResponse::default()).await;
        call.await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let call = tokio::spawn(beat(&connection));
        authenticate(&mut peer, 1_000_000).await;
        serve::<HeartbeatRequest>(&mut peer, HeartbeatResponse::default()).await;
        call.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn after_its_time_a_connection_sends_nothing_before_it_has_said_who_it_is() {
        let (connection, mut peer, _tasks) = opened_for(10_000).await;
        for _ in 0..2 {
            tokio::time::sleep(Duration::from_secs(60)).await;
            let call = tokio::spawn(beat(&connection));
            authenticate(&mut peer, 10_000).await;
            serve::<HeartbeatRequest>(&mut peer, HeartbeatResponse::default()).await;
            call.await.unwrap().unwrap();
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        let call = tokio::spawn(beat(&connection));
        authenticate(&mut peer, 0).await;
        serve::<HeartbeatRequest>(&mut peer, HeartbeatResponse::default()).await;
        call.await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_secs(600)).await;
        let call = tokio::spawn(beat(&connection));
        serve::<HeartbeatRequest>(&mut peer, HeartbeatResponse::default()).await; // the broker has said: for ever
        call.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_authentication_that_fails_ends_the_connection_and_loses_nothing_silently() {
        let (connection, mut peer, tasks) = opened_for(10_000).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
        let held = tokio::spawn(beat(&connection));
        serve::<SaslHandshakeRequest>(&mut peer, SaslHandshakeResponse::default()).await;
        serve::<SaslAuthenticateRequest>(&mut peer, SaslAuthenticateResponse::default().with_error_code(58)).await;
        let error = held.await.unwrap().unwrap_err();
        assert_eq!((error.kind(), error.delivery_certainty()), (ErrorKind::Connection, Some(Certainty::NotSent)));
        assert!(error.to_string().contains("could not authenticate again"), "{error}");
        tokio::task::yield_now().await;
        assert_eq!(tasks.live(), 0);
    }

    /// Waits for its token for a long time.
    #[derive(Debug)]
    struct Slow;

    impl SaslMechanism for Slow {
        fn name(&self) -> &str {
            "SLOW"
        }

        fn start<'a>(&'a self, _: &'a crate::sasl::SaslPeer) -> Starting<'a> {
            Box::pin(async {
                tokio::time::sleep(Duration::from_secs(5)).await;
                Ok((SaslMessage::default(), Box::new(crate::sasl::SaidAll("SLOW")) as Box<dyn SaslSession>))
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn requests_go_on_while_a_mechanism_waits_for_its_token() {
        let (connect, [mut peer]) = pipes::<1>();
        let tasks = Tasks::new().unwrap();
        let (connection, ()) = tokio::join!(open_as(Slow, &connect, &tasks), async {
            serve::<ApiVersionsRequest>(&mut peer, has_sasl()).await;
            authenticate(&mut peer, 100_000).await;
        });
        let connection = connection.unwrap();
        tokio::time::sleep(Duration::from_secs(95)).await;
        for _ in 0..3 {
            let call = tokio::spawn(beat(&connection));
            serve::<HeartbeatRequest>(&mut peer, HeartbeatResponse::default()).await;
            call.await.unwrap().unwrap();
        }
        authenticate(&mut peer, 100_000).await;
    }
}
