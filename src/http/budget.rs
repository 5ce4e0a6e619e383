//! Budgets of shared resources: connections, in-flight requests, bytes of request bodies and of pending responses. The
//! node has a total of each, and every client a share of it.
//!
//! A client is an IPv4 address or an IPv6 /64 network, since one host usually owns the whole /64. A reservation succeeds or
//! fails immediately; no request waits in a queue.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A resource with a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Open connections.
    Connections,
    /// Requests in flight.
    Requests,
    /// Bytes of request bodies.
    BodyBytes,
    /// Bytes of responses that are not written yet.
    ResponseBytes,
}

const RESOURCES: usize = 4;
/// A reservation of `n` bytes succeeds only if `HEADROOM * n` bytes remain free, so that large bodies and responses are
/// refused long before small ones. One above a quarter of the limit succeeds only while nothing else is reserved.
const HEADROOM: usize = 3;
/// Minimum share of a client in connections and in requests, capped by the node's limit.
const MIN_SHARE: usize = 16;
/// Minimum share of a client in bytes: a body of the maximum size fits, with its headroom.
const MIN_SHARE_BYTES: usize = 8 << 20;

/// The limit that a reservation would exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// The total of the node.
    Node,
    /// The share of the client.
    Client,
}

/// The limits of a node.
#[derive(Clone, Copy, Debug)]
pub struct BudgetLimits {
    pub connections: usize,
    pub requests: usize,
    /// Bytes of request bodies, and as many again of pending responses.
    pub bytes: usize,
    /// Maximum percentage of each resource that one client may hold.
    pub client_percent: usize,
}

/// The resources of a node and how much of them is reserved.
#[derive(Debug)]
pub struct NodeBudget {
    limits: [usize; RESOURCES],
    client_limits: [usize; RESOURCES],
    used: [AtomicUsize; RESOURCES],
    clients: Mutex<HashMap<IpAddr, Weak<ClientBudget>>>,
}

/// What one client has reserved. The entry is removed when the last handle and reservation are dropped.
#[derive(Debug)]
pub struct ClientBudget {
    node: Arc<NodeBudget>,
    /// The IPv4 address, or the first address of the IPv6 /64 network.
    pub address: IpAddr,
    used: [AtomicUsize; RESOURCES],
}

/// An amount of a resource, released on drop.
#[derive(Debug)]
pub struct Reservation {
    client: Arc<ClientBudget>,
    resource: Resource,
    amount: usize,
}

impl NodeBudget {
    /// Budgets with nothing reserved.
    pub fn new(totals: BudgetLimits) -> Arc<Self> {
        let limits = [totals.connections, totals.requests, totals.bytes, totals.bytes];
        let share = |limit: usize, min: usize| {
            let share = limit.saturating_mul(totals.client_percent).div_ceil(100);
            share.max(min).min(limit)
        };
        let client_limits = [
            share(limits[0], MIN_SHARE),
            share(limits[1], MIN_SHARE),
            share(limits[2], MIN_SHARE_BYTES),
            share(limits[3], MIN_SHARE_BYTES),
        ];
        Arc::new(NodeBudget { limits, client_limits, used: Default::default(), clients: Mutex::default() })
    }

    /// The budget of the client at `address`.
    pub fn client(self: &Arc<Self>, address: IpAddr) -> Arc<ClientBudget> {
        let address = network(address);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&address).and_then(Weak::upgrade) {
            return client;
        }
        let client = Arc::new(ClientBudget { node: self.clone(), address, used: Default::default() });
        clients.insert(address, Arc::downgrade(&client));
        client
    }

    /// How much all clients have reserved.
    pub fn used(&self, resource: Resource) -> usize {
        self.used[resource as usize].load(Ordering::Relaxed)
    }

    /// The limit of the node.
    pub fn limit(&self, resource: Resource) -> usize {
        self.limits[resource as usize]
    }
}

/// The key of a client.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

/// Adds `amount` to `used` if the sum and the headroom stay within the limit.
fn add(used: &AtomicUsize, amount: usize, headroom: usize, limit: usize) -> bool {
    let total = |used: usize| {
        let total = used.checked_add(amount)?;
        (total.checked_add(headroom)? <= limit).then_some(total)
    };
    used.fetch_update(Ordering::AcqRel, Ordering::Acquire, total).is_ok()
}

impl ClientBudget {
    /// Reserves an amount, within the limits of this client and of the node.
    pub fn reserve(self: &Arc<Self>, resource: Resource, amount: usize) -> Result<Reservation, Exceeded> {
        let mut reservation = Reservation { client: self.clone(), resource, amount: 0 };
        reservation.grow(amount)?;
        Ok(reservation)
    }

    /// Reserves an amount regardless of the limits, for work that can no longer be refused.
    pub fn reserve_unchecked(self: &Arc<Self>, resource: Resource, amount: usize) -> Reservation {
        self.used[resource as usize].fetch_add(amount, Ordering::AcqRel);
        self.node.used[resource as usize].fetch_add(amount, Ordering::AcqRel);
        Reservation { client: self.clone(), resource, amount }
    }
}

/// Removes the entry of the client.
impl Drop for ClientBudget {
    fn drop(&mut self) {
        let mut clients = self.node.clients.lock().unwrap_or_else(PoisonError::into_inner);
        // A new entry for the same address may have been inserted meanwhile.
        if clients.get(&self.address).is_some_and(|client| client.strong_count() == 0) {
            clients.remove(&self.address);
        }
    }
}

impl Reservation {
    /// Reserves more, within both limits. Bytes need headroom as well.
    pub fn grow(&mut self, more: usize) -> Result<(), Exceeded> {
        let (client, n) = (&self.client, self.resource as usize);
        let total = self.amount.saturating_add(more);
        let headroom = |limit: usize| match self.resource {
            Resource::Connections | Resource::Requests => 0,
            Resource::BodyBytes | Resource::ResponseBytes => {
                total.saturating_mul(HEADROOM).min(limit.saturating_sub(total))
            }
        };
        let (client_limit, limit) = (client.node.client_limits[n], client.node.limits[n]);
        if !add(&client.used[n], more, headroom(client_limit), client_limit) {
            return Err(if client_limit < limit { Exceeded::Client } else { Exceeded::Node });
        }
        if !add(&client.node.used[n], more, headroom(limit), limit) {
            client.used[n].fetch_sub(more, Ordering::AcqRel);
            return Err(Exceeded::Node);
        }
        self.amount += more;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let n = self.resource as usize;
        self.client.used[n].fetch_sub(self.amount, Ordering::AcqRel);
        self.client.node.used[n].fetch_sub(self.amount, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn node() -> Arc<NodeBudget> {
        NodeBudget::new(BudgetLimits { connections: 100, requests: 40, bytes: 64 * MIB, client_percent: 50 })
    }

    fn client(node: &Arc<NodeBudget>, address: &str) -> Arc<ClientBudget> {
        node.client(address.parse().unwrap())
    }

    fn reserve_all(client: &Arc<ClientBudget>, resource: Resource, amount: usize) -> (Vec<Reservation>, Exceeded) {
        let mut reservations = Vec::new();
        loop {
            match client.reserve(resource, amount) {
                Ok(reservation) => reservations.push(reservation),
                Err(exceeded) => return (reservations, exceeded),
            }
        }
    }

    #[test]
    fn a_client_is_limited_to_its_share_and_all_clients_to_the_total() {
        let node = node();
        let (one, two, three) = (client(&node, "192.0.2.1"), client(&node, "192.0.2.2"), client(&node, "::1"));
        let (first, exceeded) = reserve_all(&one, Resource::Requests, 1);
        assert_eq!((first.len(), exceeded), (20, Exceeded::Client));
        let (second, _) = reserve_all(&two, Resource::Requests, 1);
        assert_eq!((second.len(), node.used(Resource::Requests)), (20, 40));
        assert_eq!(three.reserve(Resource::Requests, 1).unwrap_err(), Exceeded::Node);
        drop(first);
        assert_eq!(reserve_all(&three, Resource::Requests, 1).0.len(), 20);
    }

    #[test]
    fn small_bodies_fit_after_large_ones_used_up_their_room() {
        let node = node();
        let client = client(&node, "192.0.2.1");
        let (large, _) = reserve_all(&client, Resource::BodyBytes, MIB);
        assert_eq!(large.len(), 29);
        let mut growing: Vec<_> = (0..512).map(|_| client.reserve(Resource::BodyBytes, 0).unwrap()).collect();
        while growing.iter_mut().any(|reservation| reservation.grow(1024).is_ok()) {}
        // Steps of 1,024 bytes leave three times that free at least, and a body takes four times its size.
        assert!(client.reserve(Resource::BodyBytes, 768).is_ok());
        drop((large, growing));
        assert_eq!(node.used(Resource::BodyBytes), 0);
    }

    #[test]
    fn a_large_reservation_succeeds_while_nothing_else_is_reserved() {
        let node = node();
        let client = client(&node, "192.0.2.1");
        let small = client.reserve(Resource::ResponseBytes, 1).unwrap();
        assert_eq!(client.reserve(Resource::ResponseBytes, 20 * MIB).unwrap_err(), Exceeded::Client);
        drop(small);
        assert!(client.reserve(Resource::ResponseBytes, 20 * MIB).is_ok());
        assert!(client.reserve(Resource::ResponseBytes, 33 * MIB).is_err());
    }

    #[test]
    fn small_limits_are_not_divided_into_shares() {
        let node = NodeBudget::new(BudgetLimits { connections: 3, requests: 2, bytes: 16 * MIB, client_percent: 1 });
        let client = client(&node, "192.0.2.1");
        assert_eq!(reserve_all(&client, Resource::Connections, 1).0.len(), 3);
        assert_eq!(reserve_all(&client, Resource::Requests, 1).0.len(), 2);
        assert!(client.reserve(Resource::BodyBytes, MIB).is_ok());
    }

    #[test]
    fn an_ipv6_network_is_one_client_and_its_entry_is_removed_with_the_last_reservation() {
        let node = node();
        let one = client(&node, "2001:db8:0:1::1");
        assert!(Arc::ptr_eq(&one, &client(&node, "2001:db8:0:1:ffff::2")));
        assert!(!Arc::ptr_eq(&one, &client(&node, "2001:db8:0:2::1")));
        let reservation = one.reserve_unchecked(Resource::ResponseBytes, 1 << 40);
        drop(one);
        assert_eq!(node.clients.lock().unwrap().len(), 1);
        assert!(client(&node, "2001:db8:0:1::1").reserve(Resource::ResponseBytes, 1).is_err());
        drop(reservation);
        assert_eq!((node.clients.lock().unwrap().len(), node.used(Resource::ResponseBytes)), (0, 0));
    }
}
