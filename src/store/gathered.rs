//! What many want at once, each for one row: asked for together.
//!
//! A few of them are on their way to the server at a time. Who comes meanwhile waits for one of those places, and whoever
//! gets it asks for all who wait. So a read costs a round trip, as before, and a busy server is asked a fraction of the
//! questions; nobody is answered with what was read before they asked.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// How many questions are on their way at a time.
const LANES: usize = 2;
/// Most keys of one question.
const MOST: usize = 32;

/// Questions of one kind.
#[derive(Debug)]
pub(super) struct Gathered<K, V>(Arc<Mutex<State<K, V>>>);

#[derive(Debug)]
struct State<K, V> {
    /// Lanes that are in use.
    taken: usize,
    waiting: VecDeque<Wanted<K, V>>,
}

#[derive(Debug)]
struct Wanted<K, V> {
    key: K,
    turn: oneshot::Sender<Turn<K, V>>,
}

/// What becomes of somebody who waits.
#[derive(Debug)]
enum Turn<K, V> {
    /// Somebody else has asked.
    Answer(V),
    /// Whoever asked has failed: they are to ask for themselves.
    Alone,
    /// They are to ask, for these others too.
    Lead(Vec<Wanted<K, V>>, Lane<K, V>),
}

/// The right to ask. Dropped, it goes to those who wait.
#[derive(Debug)]
struct Lane<K, V>(Option<Gathered<K, V>>);

impl<K, V> Clone for Gathered<K, V> {
    fn clone(&self) -> Self {
        Gathered(self.0.clone())
    }
}

impl<K, V> Default for Gathered<K, V> {
    fn default() -> Self {
        Gathered(Arc::new(Mutex::new(State { taken: 0, waiting: VecDeque::new() })))
    }
}

impl<K, V> Gathered<K, V> {
    fn state(&self) -> MutexGuard<'_, State<K, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the value of a key. `ask` answers one value for each of the keys it is given, in their order. Where it fails,
    /// whoever led has its error, and the others ask for themselves.
    pub(super) async fn get<E, F>(&self, key: K, ask: impl FnOnce(Vec<K>) -> F) -> Result<V, E>
    where
        K: Clone,
        F: Future<Output = Result<Vec<V>, E>>,
    {
        let waits = {
            let mut state = self.state();
            if state.taken < LANES {
                state.taken += 1;
                None
            } else {
                let (turn, told) = oneshot::channel();
                state.waiting.push_back(Wanted { key: key.clone(), turn });
                Some(told)
            }
        };
        let (others, lane) = match waits {
            None => (Vec::new(), Some(Lane(Some(self.clone())))),
            Some(told) => match told.await {
                Ok(Turn::Answer(value)) => return Ok(value),
                Ok(Turn::Lead(others, lane)) => (others, Some(lane)),
                Ok(Turn::Alone) => (Vec::new(), None),
                Err(_) => (Vec::new(), None),
            },
        };
        let (mut keys, mut turns) = (vec![key], Vec::with_capacity(others.len()));
        for other in others {
            keys.push(other.key);
            turns.push(other.turn);
        }
        let values = ask(keys).await;
        drop(lane);
        let mut values = match values {
            Ok(values) => values.into_iter(),
            Err(error) => {
                for turn in turns {
                    drop(turn.send(Turn::Alone));
                }
                return Err(error);
            }
        };
        let mine = values.next();
        for (turn, value) in turns.into_iter().zip(values) {
            // Who has gone does not want it any more.
            drop(turn.send(Turn::Answer(value)));
        }
        Ok(mine.expect("one value for each key"))
    }
}

impl<K, V> Drop for Lane<K, V> {
    fn drop(&mut self) {
        let Some(gathered) = self.0.take() else { return };
        loop {
            let (leader, others) = {
                let mut state = gathered.state();
                state.waiting.retain(|wanted| !wanted.turn.is_closed());
                let Some(leader) = state.waiting.pop_front() else {
                    state.taken -= 1;
                    return;
                };
                let count = state.waiting.len().min(MOST - 1);
                (leader, state.waiting.drain(..count).collect::<Vec<_>>())
            };
            match leader.turn.send(Turn::Lead(others, Lane(Some(gathered.clone())))) {
                Ok(()) => return,
                // It went away just now: the others keep their places, and the lane is still ours.
                Err(Turn::Lead(others, mut lane)) => {
                    lane.0 = None;
                    let mut state = gathered.state();
                    for other in others.into_iter().rev() {
                        state.waiting.push_front(other);
                    }
                }
                Err(Turn::Answer(_) | Turn::Alone) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::Semaphore;

    /// A store that answers twice the key, when it is let.
    #[derive(Default)]
    struct Asked {
        sizes: Mutex<Vec<usize>>,
        fails: AtomicUsize,
    }

    impl Asked {
        async fn ask(&self, keys: Vec<u32>, gate: &Semaphore) -> Result<Vec<u32>, &'static str> {
            self.sizes.lock().unwrap().push(keys.len());
            gate.acquire().await.unwrap().forget();
            let fails = self.fails.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
            if fails { Err("no") } else { Ok(keys.iter().map(|key| key * 2).collect()) }
        }
    }

    #[tokio::test]
    async fn who_waits_is_asked_for_together_and_gets_their_own() {
        let (gathered, asked, gate) = (Gathered::default(), Asked::default(), Semaphore::new(0));
        let get = |key: u32| gathered.get(key, |keys| asked.ask(keys, &gate));
        let opened = async {
            tokio::task::yield_now().await;
            gate.add_permits(100);
        };
        let (values, ()) = tokio::join!(futures_util::future::join_all((0..40).map(get)), opened);
        assert_eq!(values, (0..40).map(|key| Ok(key * 2)).collect::<Vec<_>>());
        let sizes = asked.sizes.lock().unwrap().clone();
        assert_eq!((sizes.iter().sum::<usize>(), &sizes[..3]), (40, &[1, 1, MOST][..]));
        assert_eq!(gathered.state().taken, 0);
    }

    #[tokio::test]
    async fn those_whose_leader_fails_or_goes_ask_for_themselves() {
        let (gathered, asked, gate) = (Gathered::default(), Asked::default(), Semaphore::new(0));
        asked.fails.store(3, Ordering::SeqCst);
        let get = |key: u32| gathered.get(key, |keys| asked.ask(keys, &gate));
        let opened = async {
            tokio::task::yield_now().await;
            gate.add_permits(100);
        };
        let (values, ()) = tokio::join!(futures_util::future::join_all((0..10).map(get)), opened);
        // The two that asked alone, and who led the eight others.
        let failed: Vec<_> = (0..10).filter(|key| values[*key].is_err()).collect();
        assert_eq!(failed, [0, 1, 2]);
        assert_eq!(gathered.state().taken, 0);
    }

    #[tokio::test]
    async fn who_goes_away_leaves_no_lane_taken() {
        let (gathered, gate) = (Gathered::<u32, u32>::default(), Semaphore::new(0));
        let ask = async |keys| {
            gate.acquire().await.unwrap().forget();
            Ok::<_, Infallible>(keys)
        };
        let mut calls: Vec<_> = (0..8).map(|key| Some(Box::pin(gathered.get(key, &ask)))).collect();
        for call in calls.iter_mut().flatten() {
            assert!(futures_util::poll!(call).is_pending());
        }
        // Both that ask, and some of those that wait; the one that is made to lead goes before it could.
        calls[0] = None;
        calls[1] = None;
        calls[2] = None;
        calls[4] = None;
        gate.add_permits(100);
        for (key, call) in calls.into_iter().enumerate().filter_map(|(key, call)| Some((key, call?))) {
            assert_eq!(call.await, Ok(key as u32));
        }
        let state = gathered.state();
        assert_eq!((state.taken, state.waiting.len()), (0, 0));
    }
}
