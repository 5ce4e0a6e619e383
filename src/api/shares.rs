//! Shared resources of a node (connections, requests in flight, bytes held for bodies and for answers), and the share of
//! them that one client may hold.
//!
//! A client is an IPv4 address, or a /64 network of IPv6, as one host usually has all of it. Amounts are taken or refused
//! at once; no request waits in a queue.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// What is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Open connections.
    Connections,
    /// Requests in flight.
    Requests,
    /// Bytes of request bodies.
    BodyBytes,
    /// Bytes of answers that are not written yet.
    AnswerBytes,
}

const RESOURCES: usize = 4;
/// How many times what one holder takes in bytes must stay free for the others. So large bodies and answers are refused
/// long before small ones. One that is larger than a quarter of the limit is taken only where nothing else is.
const HEADROOM: usize = 3;
/// A client's share is never less than this many connections or requests, as far as the node has them.
const MIN_SHARE: usize = 16;
/// A client's share is never less than this many bytes: a body of the maximum size fits, with its headroom.
const MIN_SHARE_BYTES: usize = 8 << 20;

/// Whose limit is exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// The node's.
    Node,
    /// The client's share of it.
    Client,
}

/// The limits of a node, by resource.
#[derive(Clone, Copy, Debug)]
pub struct Amounts {
    /// Open connections.
    pub connections: usize,
    /// Requests in flight.
    pub requests: usize,
    /// Bytes of request bodies, and as many of answers.
    pub bytes: usize,
    /// The percentage of each that one client may hold.
    pub client_percent: usize,
}

/// The shared resources of a node.
#[derive(Debug)]
pub struct Shares {
    limits: [usize; RESOURCES],
    client_limits: [usize; RESOURCES],
    used: [AtomicUsize; RESOURCES],
    clients: Mutex<HashMap<IpAddr, Weak<Client>>>,
}

/// What one client holds. It is forgotten with its last connection and lease.
#[derive(Debug)]
pub struct Client {
    shares: Arc<Shares>,
    /// The address, or the first of the network.
    pub address: IpAddr,
    used: [AtomicUsize; RESOURCES],
}

/// An amount that is held until this is dropped.
#[derive(Debug)]
pub struct Lease {
    client: Arc<Client>,
    resource: Resource,
    amount: usize,
}

impl Shares {
    /// Nothing is held yet.
    pub fn new(amounts: Amounts) -> Arc<Self> {
        let limits = [amounts.connections, amounts.requests, amounts.bytes, amounts.bytes];
        let share = |limit: usize, least: usize| {
            let share = limit.saturating_mul(amounts.client_percent).div_ceil(100);
            share.max(least).min(limit)
        };
        let client_limits = [
            share(limits[0], MIN_SHARE),
            share(limits[1], MIN_SHARE),
            share(limits[2], MIN_SHARE_BYTES),
            share(limits[3], MIN_SHARE_BYTES),
        ];
        Arc::new(Shares { limits, client_limits, used: Default::default(), clients: Mutex::default() })
    }

    /// The client at an address.
    pub fn client(self: &Arc<Self>, address: IpAddr) -> Arc<Client> {
        let address = network(address);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&address).and_then(Weak::upgrade) {
            return client;
        }
        let client = Arc::new(Client { shares: self.clone(), address, used: Default::default() });
        clients.insert(address, Arc::downgrade(&client));
        client
    }

    /// How much is held.
    pub fn used(&self, resource: Resource) -> usize {
        self.used[resource as usize].load(Ordering::Relaxed)
    }

    /// How much may be held.
    pub fn limit(&self, resource: Resource) -> usize {
        self.limits[resource as usize]
    }
}

/// The address that a client is known by.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

/// Adds to what is used, if that and the headroom stay within the limit.
fn add(used: &AtomicUsize, amount: usize, headroom: usize, limit: usize) -> bool {
    let total = |used: usize| {
        let total = used.checked_add(amount)?;
        (total.checked_add(headroom)? <= limit).then_some(total)
    };
    used.fetch_update(Ordering::AcqRel, Ordering::Acquire, total).is_ok()
}

impl Client {
    /// Takes an amount; refused if the node, or this client, would hold too much.
    pub fn take(self: &Arc<Self>, resource: Resource, amount: usize) -> Result<Lease, Exceeded> {
        let mut lease = Lease { client: self.clone(), resource, amount: 0 };
        lease.grow(amount)?;
        Ok(lease)
    }

    /// Takes an amount whatever the limits say, for what cannot be refused any more.
    pub fn take_anyway(self: &Arc<Self>, resource: Resource, amount: usize) -> Lease {
        self.used[resource as usize].fetch_add(amount, Ordering::AcqRel);
        self.shares.used[resource as usize].fetch_add(amount, Ordering::AcqRel);
        Lease { client: self.clone(), resource, amount }
    }
}

/// The last one forgets the client.
impl Drop for Client {
    fn drop(&mut self) {
        let mut clients = self.shares.clients.lock().unwrap_or_else(PoisonError::into_inner);
        // Another one may have been made since.
        if clients.get(&self.address).is_some_and(|client| client.strong_count() == 0) {
            clients.remove(&self.address);
        }
    }
}

impl Lease {
    /// Takes more; refused if the node, or the client, would hold too much. A holder of bytes leaves headroom.
    pub fn grow(&mut self, more: usize) -> Result<(), Exceeded> {
        let (client, n) = (&self.client, self.resource as usize);
        let total = self.amount.saturating_add(more);
        let headroom = |limit: usize| match self.resource {
            Resource::Connections | Resource::Requests => 0,
            Resource::BodyBytes | Resource::AnswerBytes => {
                total.saturating_mul(HEADROOM).min(limit.saturating_sub(total))
            }
        };
        let (client_limit, limit) = (client.shares.client_limits[n], client.shares.limits[n]);
        if !add(&client.used[n], more, headroom(client_limit), client_limit) {
            return Err(if client_limit < limit { Exceeded::Client } else { Exceeded::Node });
        }
        if !add(&client.shares.used[n], more, headroom(limit), limit) {
            client.used[n].fetch_sub(more, Ordering::AcqRel);
            return Err(Exceeded::Node);
        }
        self.amount += more;
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let n = self.resource as usize;
        self.client.used[n].fetch_sub(self.amount, Ordering::AcqRel);
        self.client.shares.used[n].fetch_sub(self.amount, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn shares() -> Arc<Shares> {
        Shares::new(Amounts { connections: 100, requests: 40, bytes: 64 * MIB, client_percent: 50 })
    }

    fn client(shares: &Arc<Shares>, address: &str) -> Arc<Client> {
        shares.client(address.parse().unwrap())
    }

    fn take_all(client: &Arc<Client>, resource: Resource, amount: usize) -> (Vec<Lease>, Exceeded) {
        let mut leases = Vec::new();
        loop {
            match client.take(resource, amount) {
                Ok(lease) => leases.push(lease),
                Err(exceeded) => return (leases, exceeded),
            }
        }
    }

    #[test]
    fn a_client_holds_its_share_and_all_clients_hold_the_limit() {
        let shares = shares();
        let (one, two, three) = (client(&shares, "192.0.2.1"), client(&shares, "192.0.2.2"), client(&shares, "::1"));
        let (first, exceeded) = take_all(&one, Resource::Requests, 1);
        assert_eq!((first.len(), exceeded), (20, Exceeded::Client));
        let (second, _) = take_all(&two, Resource::Requests, 1);
        assert_eq!((second.len(), shares.used(Resource::Requests)), (20, 40));
        assert_eq!(three.take(Resource::Requests, 1).unwrap_err(), Exceeded::Node);
        drop(first);
        assert_eq!(take_all(&three, Resource::Requests, 1).0.len(), 20);
    }

    #[test]
    fn small_bodies_fit_where_large_ones_have_taken_what_they_may() {
        let shares = shares();
        let client = client(&shares, "192.0.2.1");
        let (large, _) = take_all(&client, Resource::BodyBytes, MIB);
        assert_eq!(large.len(), 29);
        let mut growing: Vec<_> = (0..512).map(|_| client.take(Resource::BodyBytes, 0).unwrap()).collect();
        while growing.iter_mut().any(|lease| lease.grow(1024).is_ok()) {}
        // Steps of 1,024 bytes leave three times that free at least, and a body takes four times its size.
        assert!(client.take(Resource::BodyBytes, 768).is_ok());
        drop((large, growing));
        assert_eq!(shares.used(Resource::BodyBytes), 0);
    }

    #[test]
    fn a_large_amount_is_taken_where_nothing_else_is() {
        let shares = shares();
        let client = client(&shares, "192.0.2.1");
        let small = client.take(Resource::AnswerBytes, 1).unwrap();
        assert_eq!(client.take(Resource::AnswerBytes, 20 * MIB).unwrap_err(), Exceeded::Client);
        drop(small);
        assert!(client.take(Resource::AnswerBytes, 20 * MIB).is_ok());
        assert!(client.take(Resource::AnswerBytes, 33 * MIB).is_err());
    }

    #[test]
    fn small_limits_are_not_divided() {
        let shares = Shares::new(Amounts { connections: 3, requests: 2, bytes: 16 * MIB, client_percent: 1 });
        let client = client(&shares, "192.0.2.1");
        assert_eq!(take_all(&client, Resource::Connections, 1).0.len(), 3);
        assert_eq!(take_all(&client, Resource::Requests, 1).0.len(), 2);
        assert!(client.take(Resource::BodyBytes, MIB).is_ok());
    }

    #[test]
    fn a_network_of_ipv6_is_one_client_and_is_forgotten_with_its_last_lease() {
        let shares = shares();
        let one = client(&shares, "2001:db8:0:1::1");
        assert!(Arc::ptr_eq(&one, &client(&shares, "2001:db8:0:1:ffff::2")));
        assert!(!Arc::ptr_eq(&one, &client(&shares, "2001:db8:0:2::1")));
        let lease = one.take_anyway(Resource::AnswerBytes, 1 << 40);
        drop(one);
        assert_eq!(shares.clients.lock().unwrap().len(), 1);
        assert!(client(&shares, "2001:db8:0:1::1").take(Resource::AnswerBytes, 1).is_err());
        drop(lease);
        assert_eq!((shares.clients.lock().unwrap().len(), shares.used(Resource::AnswerBytes)), (0, 0));
    }
}
