use archipelago_clock::{Dot, MintError, ReplicaId, VectorClock};

use crate::{Causal, ListError, nested::nest_causal};

mod dots;
mod encoding;
mod node;
mod order;

pub use dots::ListDots;

/// A list in which items are inserted anywhere and removed, and concurrent runs of insertions do not mix.
///
/// Every item has an id, the dot of its insertion, and a place in a tree: it is a right child of the item that it
/// was inserted after, or, if that has what follows on its own right, a left child of the item that it was inserted
/// before. The list is the walk of the tree, with siblings in the order of their ids. So what one actor types
/// forwards or backwards at one place forms one subtree, and stays together whatever others type there
/// concurrently.
///
/// Removing wins over nothing and loses to nothing, since items are never updated: an item is in the list from its
/// insertion to its first removal. What is inserted beside an item that is concurrently removed stays. Items cannot
/// be moved.
///
/// # Tombstones
///
/// A removed item leaves a node without its content, since others may hang on it.
/// [`forget_stable`](Causal::forget_stable) reclaims those on which nothing hangs and nothing can any more: new items
/// are only ever hung on items that their author saw in the list.
///
/// # Order requirements
///
/// As for all [`Causal`] types. Items whose delta arrives before that of the item they hang on are kept and wait. If
/// what they hang on was reclaimed, or removed with its key in an [`OrMap`](crate::OrMap), they hang on the root.
///
/// Encoded with the list of nodes as the store, each with its id, parent, side and item:
/// `{"store":[["us",1,null,"right",{"live":"a"}]],"context":{"clock":{"us":1}}}`, and
/// `{"deleted":["us",2]}` in place of the item if it was removed.
///
/// Weidner, Kleppmann, *The art of the Fugue: minimizing interleaving in collaborative text editing*, 2023. The
/// departure: there an item is placed by its neighbours including removed ones, here by its neighbours in the list,
/// which is what allows removed ones to be reclaimed. A run stays together all the same. Where the neighbours at the
/// place were removed, the order of concurrent runs among one another is that of their ids.
///
/// ```
/// use archipelago_crdt::{Crdt, List};
///
/// let mut us: List<char, &str> = List::new();
/// us.push("us", 'a')?;
/// let mut eu = us.clone();
/// us.push("us", 'b')?;
/// us.push("us", 'c')?;
/// eu.push("eu", 'x')?; // concurrently
/// eu.push("eu", 'y')?;
/// us.merge(&eu);
/// assert_eq!(us.iter().collect::<String>(), "axybc");
/// # Ok::<(), archipelago_crdt::ListError>(())
/// ```
pub type List<T, A = ReplicaId> = Causal<ListDots<T, A>>;

impl<T: Ord + Clone, A: Ord + Clone> List<T, A> {
    /// Inserts `item` at `index` for `actor`, which must be the caller's own id, and returns the delta.
    ///
    /// # Errors
    /// [`ListError::OutOfBounds`] if there are fewer than `index` items, [`ListError::Mint`] if this is not the
    /// actor's own current state or its sequence is exhausted; the list is unchanged.
    pub fn insert(&mut self, actor: A, index: usize, item: T) -> Result<Self, ListError> {
        let before = match index.checked_sub(1) {
            None => None,
            Some(before) => Some(self.store.place_of_index(before).ok_or_else(|| self.out_of_bounds(index))?),
        };
        self.insert_behind(actor, before, item)
    }

    /// Inserts `item` behind the item with the id `after`, as [`insert`](Self::insert) does.
    ///
    /// # Errors
    /// [`ListError::NoSuchItem`] if it is not in the list, else as [`insert`](Self::insert).
    pub fn insert_after(&mut self, actor: A, after: &Dot<A>, item: T) -> Result<Self, ListError> {
        let place = self.store.place_of(after).ok_or(ListError::NoSuchItem)?;
        self.insert_behind(actor, Some(place), item)
    }

    /// Inserts `item` at the end, as [`insert`](Self::insert) does.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn push(&mut self, actor: A, item: T) -> Result<Self, ListError> {
        let last = self.store.last_place();
        self.insert_behind(actor, last, item)
    }

    /// Removes the item at `index` for `actor`, which must be the caller's own id, and returns the delta.
    ///
    /// # Errors
    /// As [`insert`](Self::insert).
    pub fn remove(&mut self, actor: A, index: usize) -> Result<Self, ListError> {
        let place = self.store.place_of_index(index).ok_or_else(|| self.out_of_bounds(index))?;
        Ok(self.remove_at(actor, place)?)
    }

    /// Removes the item with the id `id`, as [`remove`](Self::remove) does.
    ///
    /// # Errors
    /// [`ListError::NoSuchItem`] if it is not in the list, else as [`insert`](Self::insert).
    pub fn remove_id(&mut self, actor: A, id: &Dot<A>) -> Result<Self, ListError> {
        let place = self.store.place_of(id).ok_or(ListError::NoSuchItem)?;
        Ok(self.remove_at(actor, place)?)
    }

    /// Forgets the removed items on which nothing hangs and whose removal is causally stable: seen by every replica,
    /// while everything that any replica did before it saw it has been merged here. Returns the delta.
    ///
    /// The value stays the same. Replicas may forget at different times, or never. If `stable` claims too much, items
    /// that were hung on a forgotten one move to another place; replicas agree even then.
    pub fn forget_stable(&mut self, stable: &VectorClock<A>) -> Self {
        let forgotten = self.store.take_stable(stable);
        if !forgotten.is_empty() {
            self.store.resettle(&self.context);
        }
        let context = forgotten.into_iter().collect();
        self.unless_too_long(Causal { store: ListDots::default(), context })
    }

    fn out_of_bounds(&self, index: usize) -> ListError {
        ListError::OutOfBounds { index, len: self.store.len() }
    }

    /// Inserts behind the live item at a place, or at the front.
    fn insert_behind(&mut self, actor: A, before: Option<usize>, item: T) -> Result<Self, ListError> {
        let dot = self.context.mint(actor)?;
        let (node, placed) = self.store.insert_behind(before, dot.clone(), item);
        if !placed {
            self.store.resettle(&self.context);
        }
        Ok(Causal::delta(ListDots::of(dot, node), None::<ListDots<T, A>>))
    }

    fn remove_at(&mut self, actor: A, place: usize) -> Result<Self, MintError> {
        let deletion = self.context.mint(actor)?;
        let (dot, node) = self.store.delete(place, deletion);
        Ok(Causal::delta(ListDots::of(dot, node), None::<ListDots<T, A>>))
    }
}

nest_causal!([T: Ord + Clone, A: Ord + Clone] ListDots<T, A>);

#[cfg(test)]
mod tests;
