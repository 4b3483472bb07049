//! Which entity hangs below which: what the key `parent` of a tree component says, by child and
//! by parent, and never a circle.

use std::collections::{BTreeMap, BTreeSet};

use tickloom_protocol::ids::EntityId;
use tickloom_protocol::limits;

/// The key whose value, an entity, is the parent.
pub const PARENT: &str = "parent";

/// The places of a room's entities in one tree component.
#[derive(Debug, Default)]
pub struct Tree {
    parents: BTreeMap<EntityId, EntityId>,
    /// The same pairs the other way round; no empty sets.
    children: BTreeMap<EntityId, BTreeSet<EntityId>>,
}

/// Why an entity cannot hang below another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TreeError {
    /// It would hang below itself.
    #[error("an entity cannot hang below itself")]
    Circle,
    /// Too many steps to the root. What hangs below the entity is not looked at: the bound is for
    /// the walk upwards.
    #[error("a tree is at most {} steps deep", limits::TREE_DEPTH_MAX)]
    TooDeep,
}

impl Tree {
    /// What an entity hangs below, if anything.
    #[must_use]
    pub fn parent(&self, child: EntityId) -> Option<EntityId> {
        self.parents.get(&child).copied()
    }

    /// What hangs directly below an entity, in order of ids.
    pub fn children(&self, parent: EntityId) -> impl Iterator<Item = EntityId> {
        self.children.get(&parent).into_iter().flatten().copied()
    }

    /// Hangs `child` below `parent`, or nowhere.
    pub fn hang(&mut self, child: EntityId, parent: Option<EntityId>) {
        if let Some(before) = self.parents.remove(&child)
            && let Some(siblings) = self.children.get_mut(&before)
        {
            siblings.remove(&child);
            if siblings.is_empty() {
                self.children.remove(&before);
            }
        }
        if let Some(parent) = parent {
            self.parents.insert(child, parent);
            self.children.entry(parent).or_default().insert(child);
        }
    }

    /// Forgets an entity that has no children any more.
    pub fn remove(&mut self, entity: EntityId) {
        debug_assert!(!self.children.contains_key(&entity), "{entity:?} still has children");
        self.hang(entity, None);
    }

    /// Checks that both directions say the same.
    ///
    /// # Panics
    /// When they do not.
    pub fn check_invariants(&self) {
        let pairs: usize = self.children.values().map(BTreeSet::len).sum();
        assert_eq!(pairs, self.parents.len(), "every child has one parent");
        for (child, parent) in &self.parents {
            assert!(self.children[parent].contains(child), "{child:?} is a child of {parent:?}");
            // A subtree that moves takes its depth along, so a path may be longer than the bound
            // for a new place, but it ends.
            let up = |entity: &EntityId| self.parent(*entity);
            let place = check_place(*child, *parent, up);
            assert_ne!(place, Err(TreeError::Circle), "{child:?} hangs in a circle");
        }
    }
}

/// Whether `child` may hang below `parent`, in a tree whose other places `parent_of` knows.
///
/// # Errors
/// Why not.
pub fn check_place<Id: PartialEq + Copy>(
    child: Id,
    parent: Id,
    parent_of: impl Fn(&Id) -> Option<Id>,
) -> Result<(), TreeError> {
    let mut above = parent;
    for _ in 0..limits::TREE_DEPTH_MAX {
        if above == child {
            return Err(TreeError::Circle);
        }
        match parent_of(&above) {
            Some(next) => above = next,
            None => return Ok(()),
        }
    }
    Err(TreeError::TooDeep)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_hangs_below_itself_or_too_deep() {
        let mut tree = Tree::default();
        for id in 1..limits::TREE_DEPTH_MAX as u32 {
            tree.hang(EntityId(id + 1), Some(EntityId(id)));
        }
        tree.check_invariants();
        let up = |entity: &EntityId| tree.parent(*entity);
        let (first, last) = (EntityId(1), EntityId(limits::TREE_DEPTH_MAX as u32));
        let stranger = EntityId(1_000);
        for (child, parent, expected) in [
            (first, last, Err(TreeError::Circle)),
            (first, first, Err(TreeError::Circle)),
            (stranger, EntityId(last.0 - 1), Ok(())),
            (stranger, last, Ok(())),
        ] {
            assert_eq!(check_place(child, parent, up), expected, "{child:?} below {parent:?}");
        }
        tree.hang(stranger, Some(last));
        let up = |entity: &EntityId| tree.parent(*entity);
        assert_eq!(check_place(EntityId(2_000), stranger, up), Err(TreeError::TooDeep));
    }

    #[test]
    fn a_child_has_one_parent_at_a_time() {
        let mut tree = Tree::default();
        let [a, b, child] = [1, 2, 3].map(EntityId);
        for (parent, of_a, of_b) in [(Some(a), 1, 0), (Some(b), 0, 1), (None, 0, 0)] {
            tree.hang(child, parent);
            tree.check_invariants();
            let counts = (tree.children(a).count(), tree.children(b).count());
            assert_eq!((tree.parent(child), counts), (parent, (of_a, of_b)));
        }
    }
}
