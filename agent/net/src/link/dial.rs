//! The dialling side: one attempt over one path.

use std::net::SocketAddr;
use std::time::Duration;

use mpyc_party_core::agreement::Entry;
use mpyc_party_core::control::{Control, MAX_CONTROL_BYTES, MAX_OPENING_BYTES, Purpose};
use mpyc_party_core::path::{Kind, Target};
use mpyc_party_transport::{Carrier, Expect, Protocol, Secure, connect, frame, quic};

use crate::relay;
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::connection::Way;
use super::reach::reach;
use super::{BoxError, Circle, Shared};
use crate::discovery::Whereabouts;

/// How long an attempt may take.
pub(super) const ATTEMPT: Duration = Duration::from_secs(5);
/// Addresses that one name may have.
const MOST_ADDRESSES: usize = 8;

/// Tries to reach `peer` at `target`, and says that links up to the epoch `lost` are of no use.
pub(super) async fn dial(
    shared: &Shared,
    peer: usize,
    target: &Target,
    lost: u64,
) -> Result<(Secure, Way), BoxError> {
    let (circle, expect) = (&shared.circle, shared.expect(Some(peer)));
    let attempt = async {
        let (mut secure, way) = match target.kind {
            Kind::Tcp => {
                let secure = tcp(circle, &target.place, Protocol::Control, &expect).await?;
                let way = Way::of(&secure, true, None);
                (secure, way)
            }
            Kind::Quic => {
                let endpoint = shared.quic.as_ref().ok_or("there is no UDP socket")?;
                let address: SocketAddr = target.place.parse()?;
                let connection = punch(circle, endpoint, address, Protocol::Peer, &expect).await?;
                let secure = connection.open(Protocol::Control).await?;
                let way = Way::of(&secure, true, Some(connection));
                (secure, way)
            }
            Kind::Relay => {
                let secure =
                    relayed(circle, &target.place, peer, Protocol::Control, &expect).await?;
                let way = Way::of(&secure, true, None).over(target.place.clone());
                (secure, way)
            }
        };
        frame::write(&mut secure.stream, &Purpose::Run { lost }, MAX_OPENING_BYTES).await?;
        Ok((secure, way))
    };
    // A relay needs as long for its own part.
    let limit = if target.kind == Kind::Relay { 2 * ATTEMPT } else { ATTEMPT };
    timeout(limit, attempt).await.map_err(|_| BoxError::from("no answer"))?
}

/// Over TCP to `place`, «host:port»: all addresses of that name at once.
pub(super) async fn tcp(
    circle: &Circle,
    place: &str,
    protocol: Protocol,
    expect: &Expect,
) -> Result<Secure, BoxError> {
    let mut attempts = JoinSet::new();
    for address in lookup_host(place).await?.take(MOST_ADDRESSES) {
        let (circle, expect) = (circle.clone(), expect.clone());
        attempts.spawn(async move {
            let tcp = TcpStream::connect(address).await?;
            handshake(&circle, tcp, protocol, &expect).await
        });
    }
    let mut last = BoxError::from("the name has no address");
    while let Some(attempt) = attempts.join_next().await {
        match attempt {
            Ok(Ok(secure)) => return Ok(secure),
            Ok(Err(error)) => last = error,
            Err(_) => {}
        }
    }
    Err(last)
}

/// Over UDP to `address`.
pub(super) async fn punch(
    circle: &Circle,
    endpoint: &quic::Endpoint,
    address: SocketAddr,
    protocol: Protocol,
    expect: &Expect,
) -> Result<quic::Connection, BoxError> {
    let (identity, name) = (circle.identity(), circle.tag.server_name());
    Ok(endpoint.connect(address, &identity, protocol, expect, &name).await?)
}

/// Through `hub` to `peer`, who is called and joins.
pub(super) async fn relayed(
    circle: &Circle,
    hub: &str,
    peer: usize,
    protocol: Protocol,
    expect: &Expect,
) -> Result<Secure, BoxError> {
    let pipe = relay::call(hub, &circle.identity(), circle.tag, circle.name(peer)).await?;
    handshake(circle, pipe, protocol, expect).await
}

async fn handshake(
    circle: &Circle,
    carrier: impl Into<Carrier>,
    protocol: Protocol,
    expect: &Expect,
) -> Result<Secure, BoxError> {
    let (identity, name) = (circle.identity(), circle.tag.server_name());
    Ok(connect(carrier, &identity, protocol, expect, &name).await?)
}

/// Asks `peer`, wherever it may be `at`, what it would run.
///
/// # Errors
/// Why it could not be asked, in words for people.
pub async fn inquire(circle: &Circle, peer: usize, at: &Whereabouts) -> Result<Entry, BoxError> {
    ask(reach(circle, peer, at, Purpose::Check).await?.secure).await
}

async fn ask(mut secure: Secure) -> Result<Entry, BoxError> {
    let (name, key) = (secure.peer.party().cloned(), secure.peer.key);
    let answer = frame::read::<Control>(&mut secure.stream, MAX_CONTROL_BYTES);
    match timeout(2 * ATTEMPT, answer).await?? {
        Some(Control::Entry(entry)) => {
            let entry = entry.decode().map_err(|why| format!("its entry cannot be read: {why}"))?;
            if Some(&entry.party) != name.as_ref() || entry.key != key {
                return Err("its entry is not its own".into());
            }
            Ok(entry)
        }
        Some(_) => Err("it answers something else".into()),
        None => Err("it is not ready yet".into()),
    }
}
