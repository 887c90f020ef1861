//! `lookup`: a join with a static table.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};

use crate::context::Context;
use crate::operator::Operator;
use crate::row::{Owned, Row};

/// A keyed table that pipelines join with, and that can be replaced while they run.
///
/// Clones share the same table. A reload swaps the whole table at once: a request sees either the
/// old or the new one. Looking a key up takes no lock.
///
/// ```
/// use snapback_operators::Table;
///
/// let zips = Table::from_iter([("98052", "Redmond"), ("10001", "New York")]);
/// zips.reload([("98052", "Redmond, WA")]);
/// assert_eq!(zips.get("98052"), Some("Redmond, WA"));
/// assert_eq!((zips.get("10001"), zips.len()), (None, 1));
/// ```
pub struct Table<K, V> {
    rows: Shared<K, V>,
}

type Shared<K, V> = Arc<ArcSwap<HashMap<K, V>>>;

impl<K: Eq + Hash, V> Table<K, V> {
    /// Replaces all rows; of several with one key the last stays.
    pub fn reload(&self, rows: impl IntoIterator<Item = (K, V)>) {
        self.rows.store(Arc::new(rows.into_iter().collect()));
    }

    /// A copy of the value of `key`.
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
        V: Clone,
    {
        self.rows.load().get(key).cloned()
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.rows.load().len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Eq + Hash, V> FromIterator<(K, V)> for Table<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(rows: I) -> Self {
        Table {
            rows: Arc::new(ArcSwap::from_pointee(rows.into_iter().collect())),
        }
    }
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        Table {
            rows: Arc::clone(&self.rows),
        }
    }
}

impl<K, V> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({} keys)", self.rows.load().len())
    }
}

/// Joins each row with the value of its key, if the table has one.
pub struct Lookup<K, V, KeyFn, JoinFn, Q: ?Sized, T> {
    /// Looks whether the table was swapped with one load, about 1 ns.
    table: Cache<Shared<K, V>, Arc<HashMap<K, V>>>,
    key: KeyFn,
    join: JoinFn,
    types: PhantomData<fn(&Q) -> T>,
}

impl<K, V, KeyFn, JoinFn, Q: ?Sized, T> Lookup<K, V, KeyFn, JoinFn, Q, T> {
    pub(crate) fn new(table: &Table<K, V>, key: KeyFn, join: JoinFn) -> Self {
        Lookup {
            table: Cache::new(Arc::clone(&table.rows)),
            key,
            join,
            types: PhantomData,
        }
    }
}

impl<K, V, KeyFn: Clone, JoinFn: Clone, Q: ?Sized, T> Clone for Lookup<K, V, KeyFn, JoinFn, Q, T> {
    fn clone(&self) -> Self {
        Lookup {
            table: self.table.clone(),
            key: self.key.clone(),
            join: self.join.clone(),
            types: PhantomData,
        }
    }
}

impl<K, V, KeyFn, JoinFn, Q: ?Sized, T> fmt::Debug for Lookup<K, V, KeyFn, JoinFn, Q, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lookup")
    }
}

impl<In, K, V, KeyFn, JoinFn, Q, T> Operator<In> for Lookup<K, V, KeyFn, JoinFn, Q, T>
where
    In: Row,
    K: Borrow<Q> + Eq + Hash + Send + Sync + 'static,
    V: Send + Sync + 'static,
    Q: Eq + Hash + ?Sized + 'static,
    T: 'static,
    KeyFn: for<'x, 'r> FnMut(&'x In::At<'r>) -> &'x Q + Clone + Send + 'static,
    JoinFn: for<'x, 'r> FnMut(In::At<'r>, Option<&'x V>) -> T + Clone + Send + 'static,
{
    type Out = Owned<T>;

    #[inline]
    fn apply<'r>(&mut self, _cx: &mut Context<'_, 'r>, row: In::At<'r>) -> Option<T> {
        let value = self.table.load().get((self.key)(&row));
        Some((self.join)(row, value))
    }
}
