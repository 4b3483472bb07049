//! The one encoder: `encode(since)` is the tick's delta, a catch-up and a snapshot.

use tickloom_protocol::chunks::{
    ChunkKind, GapWriter, SectionKind, Value, put_bytes, put_chunk, put_section, put_value,
    put_varint,
};
use tickloom_protocol::entities::View;
use tickloom_protocol::ids::{ComponentId, EntityId, Tick};
use tickloom_protocol::schema::{Kind, Scope};

use super::State;

impl State {
    /// Appends the room stream's chunk: everything that changed after `since`, or a snapshot when
    /// `since` is [`Tick::ZERO`].
    ///
    /// # Panics
    /// In debug builds, when the state does not reach back to `since`.
    pub fn encode(&mut self, since: Tick, output: &mut Vec<u8>) {
        let mut body = std::mem::take(&mut self.body);
        body.clear();
        let kind = if since == Tick::ZERO {
            self.entities.put_snapshot(View::Room, &mut body);
            ChunkKind::Snapshot
        } else {
            debug_assert!(self.reaches_back_to(since), "{since} is before {}", self.floor);
            self.put_structure(since, &mut body);
            self.put_sections(since, &mut body);
            ChunkKind::Delta
        };
        put_chunk(output, View::Room.stream(), kind, &body);
        self.body = body;
    }

    /// Appends a chunk that states the hash of the room stream.
    pub fn encode_hash(&mut self, output: &mut Vec<u8>) {
        self.entities.put_hash_chunk(View::Room, &mut self.body, output);
    }

    /// Leaves and enters since `since`.
    fn put_structure(&mut self, since: Tick, body: &mut Vec<u8>) {
        self.candidates.clear();
        let recent = self.graves.iter().rev().take_while(|grave| grave.died > since);
        self.candidates
            .extend(recent.filter(|grave| grave.born <= since).map(|grave| grave.entity));
        self.candidates.sort_unstable();
        let mut gaps = GapWriter::default();
        for entity in &self.candidates {
            gaps.put(body, *entity);
        }
        body.push(0);

        let mut gaps = GapWriter::default();
        let mut put_enter = |index: usize| {
            let entity = EntityId(index as u32);
            let Some(owner) = self.entities.owner(entity) else { return };
            gaps.put(body, entity);
            put_varint(body, u32::from(owner.0));
        };
        if since >= self.dirty_since {
            self.spawned.ones().for_each(&mut put_enter);
        } else {
            let born = self.born.iter().enumerate();
            born.filter(|(_, born)| **born > since).for_each(|(index, _)| put_enter(index));
        }
        body.push(0);
    }

    /// The room-wide components' changes since `since`.
    fn put_sections(&mut self, since: Tick, body: &mut Vec<u8>) {
        for (index, history) in self.histories.iter().enumerate() {
            let scope = self.schema.components()[index].scope;
            if scope != Scope::Room || history.last_change <= since {
                continue;
            }
            self.candidates.clear();
            if since >= self.dirty_since {
                self.candidates.extend(history.dirty.ones().map(|index| EntityId(index as u32)));
            } else {
                let changed = history.changed.iter().enumerate();
                let recent = changed.filter(|(_, changed)| **changed > since);
                self.candidates.extend(recent.map(|(index, _)| EntityId(index as u32)));
            }
            self.put_changes(ComponentId(index as u8), since, &self.candidates, body);
        }
    }

    /// The changes of one component for `entities`, whose values changed after `since`.
    pub(super) fn put_changes(
        &self,
        component: ComponentId,
        since: Tick,
        entities: &[EntityId],
        body: &mut Vec<u8>,
    ) {
        let is_props = matches!(self.schema.components()[component.index()].kind, Kind::Props);
        if is_props && since != Tick::ZERO {
            let entities = entities.iter().map(|entity| (*entity, since));
            return self.put_prop_changes(component, entities, body);
        }
        self.entities.put_values(component, entities.iter().copied(), body);
        let last_removal = self.histories[component.index()].last_removal;
        if since != Tick::ZERO && last_removal > since {
            put_section(body, SectionKind::Removed, component, |output, gaps| {
                for entity in entities {
                    let known =
                        self.entities.contains(*entity) && self.born[entity.index()] <= since;
                    if known && !self.entities.has_value(component, *entity) {
                        gaps.put(output, *entity);
                    }
                }
            });
        }
    }

    /// The changes of props, each entity's since its own tick; with [`Tick::ZERO`], all it has.
    pub(super) fn put_prop_changes(
        &self,
        component: ComponentId,
        entities: impl Iterator<Item = (EntityId, Tick)>,
        body: &mut Vec<u8>,
    ) {
        let history = &self.histories[component.index()];
        put_section(body, SectionKind::Props, component, |output, gaps| {
            for (entity, since) in entities {
                let Some(keys) = history.keys.get(&entity) else { continue };
                let props = self.entities.props(component, entity);
                let value = |key: &str| props.and_then(|props| props.get(key));
                if since == Tick::ZERO && props.is_none() {
                    continue;
                }
                gaps.put(output, entity);
                for (key, _) in keys.iter().filter(|(_, changed)| **changed > since) {
                    if since == Tick::ZERO && value(key).is_none() {
                        continue;
                    }
                    put_bytes(output, key.as_bytes());
                    put_value(output, value(key).unwrap_or(&Value::Nil));
                }
                output.push(0);
            }
        });
    }
}
