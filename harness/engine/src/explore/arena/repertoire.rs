//! What is known of one client: what it does next, for everything that it may be told.
//!
//! A client that has one thread and comes to the gate with everything that it does not compute by itself is a function of
//! what it is told there: the answers to its calls, and the words of the shared page that it reads. So what it was seen
//! to do once it does again whenever it is told the same.
//!
//! A *scene* is a client at the gate with a call. A *turn* is what it was told there, what it did before it came to the
//! gate again, and the scene that it came to.

use smallvec::SmallVec;

use crate::explore::gate::{Answer, Call, Notification};

/// Scenes that are kept of one client at most.
const SCENES: usize = 20_000;
/// Bytes that these hold at most: what was written and what was read.
const BYTES: usize = 32 << 20;
/// Times that a client is to be seen doing the same, as far as it can be followed, before it is taken at its word. What a
/// process counts from one execution to the next shows the second time.
const REHEARSALS: u32 = 2;
/// How much a client may have had to go on by itself more than it was played to its end ([`Repertoire::note_call`]).
const CALLS: i32 = 256;

/// A scene, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SceneId(usize);

impl SceneId {
    /// Where a client waits for the beginning of an execution.
    pub const PARKED: Self = Self(0);
}

/// A turn, by its number in its scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TurnId(SceneId, usize);

/// What a client has come to the gate with.
#[derive(Debug)]
pub struct Scene {
    /// As it came the first time, and the call. `None`: it has parked.
    pub cue: Option<(Notification, Call)>,
    /// The bytes that it wants written.
    pub brings: Box<[u8]>,
    /// Whether somebody else can do it in the client's place.
    pub playable: bool,
    turns: SmallVec<[Turn; 2]>,
}

/// What a client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub answer: Reply,
    /// What was written into its memory, one piece after the other.
    pub bytes: Vec<u8>,
    /// The highest token that the protected resource has seen.
    pub fence: u64,
}

/// How a call is answered, as far as the client makes something of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// By itself, or with a value or an error.
    Plain(Answer),
    /// With a new descriptor, of which it gets the lowest number that is free.
    Descriptor,
}

/// What a client does between two calls that anybody can see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deeds {
    /// The descriptor that it was told.
    pub descriptor: Option<i32>,
    /// What it records: tags and words, the first of which is a time since it was told.
    pub records: Vec<(u64, Vec<u64>)>,
    /// How often it looks at the clock of recordings.
    pub ticks: u64,
    /// Operations that it has begun then.
    pub operations: u32,
    /// Whether it is in its critical section then.
    pub inside: u32,
    /// The highest token that the protected resource has seen then.
    pub fence: u64,
}

#[derive(Debug)]
struct Turn {
    told: Told,
    deeds: Deeds,
    next: SceneId,
}

/// What became of a scene that was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// The client is there.
    At(SceneId),
    /// There is no room for it.
    Full,
    /// The client was seen doing something else after the same.
    Otherwise,
}

/// Everything that is known of a client.
#[derive(Debug)]
pub struct Repertoire {
    scenes: Vec<Scene>,
    bytes: usize,
    /// How often it was seen doing its part as a whole.
    rehearsals: u32,
    /// How much more often it was played to its end than it had to go on by itself.
    merit: i32,
    /// It was seen doing something else after the same.
    is_fickle: bool,
}

impl Default for Repertoire {
    fn default() -> Self {
        let parked = Scene { cue: None, brings: Box::default(), playable: true, turns: SmallVec::new() };
        Self { scenes: vec![parked], bytes: 0, rehearsals: 0, merit: 0, is_fickle: false }
    }
}

impl Repertoire {
    /// Whether it can be relied on.
    pub const fn is_sound(&self) -> bool {
        self.rehearsals >= REHEARSALS && !self.is_fickle
    }

    /// Whether anything that is learned of the client is of use: not if it was ever seen doing something else after the
    /// same, nor if it mostly had to go on by itself.
    pub const fn is_of_use(&self) -> bool {
        !self.is_fickle && self.merit > -CALLS
    }

    /// The client was played to its end.
    pub const fn note_end(&mut self) {
        self.merit = self.merit.saturating_add(1);
    }

    /// The client had to go on by itself, since nobody else can do what is known to come, or since nothing is known, which
    /// may be another thing the next time.
    pub const fn note_call(&mut self, is_known: bool) {
        let less = if is_known { 8 } else { 1 };
        self.merit = self.merit.saturating_sub(less);
    }

    /// The client was seen doing its part, from the beginning as far as it can be followed.
    pub const fn note_rehearsal(&mut self) {
        self.rehearsals = self.rehearsals.saturating_add(1);
    }

    /// It was seen doing something else after the same.
    pub fn distrust(&mut self) {
        *self = Self { is_fickle: true, ..Self::default() };
    }

    pub fn scene(&self, id: SceneId) -> &Scene {
        &self.scenes[id.0]
    }

    /// What the client does next when it is told this, and the scene that it comes to, if that was seen.
    pub fn after(&self, scene: SceneId, told: &Told) -> Option<(TurnId, &Deeds, SceneId)> {
        let turns = &self.scenes[scene.0].turns;
        let at = turns.iter().position(|turn| turn.told == *told)?;
        Some((TurnId(scene, at), &turns[at].deeds, turns[at].next))
    }

    /// What the client does in a turn.
    pub fn deeds(&self, TurnId(scene, at): TurnId) -> &Deeds {
        &self.scenes[scene.0].turns[at].deeds
    }

    /// Where a turn begins, and what the client is told.
    pub fn turn(&self, TurnId(scene, at): TurnId) -> (SceneId, &Told) {
        (scene, &self.scenes[scene.0].turns[at].told)
    }

    /// Takes in what the client did when it was told this.
    pub fn learn(&mut self, from: SceneId, told: Told, deeds: Deeds, came: Option<Arrival>) -> Learned {
        if let Some((_, known, next)) = self.after(from, &told) {
            let scene = self.scene(next);
            let same = match (&scene.cue, &came) {
                (None, None) => true,
                (Some((_, call)), Some(came)) => {
                    call.is_same_elsewhere(&came.call) && scene.brings == came.brings
                }
                _ => false,
            };
            if same && *known == deeds {
                return Learned::At(next);
            }
            self.distrust();
            return Learned::Otherwise;
        }
        let size = told.bytes.len() + came.as_ref().map_or(0, |came| came.brings.len());
        if self.scenes.len() == SCENES || self.bytes + size > BYTES {
            return Learned::Full;
        }
        self.bytes += size;
        let next = match came {
            None => SceneId::PARKED,
            Some(Arrival { notification, call, brings, playable }) => {
                let cue = Some((notification, call));
                self.scenes.push(Scene { cue, brings, playable, turns: SmallVec::new() });
                SceneId(self.scenes.len() - 1)
            }
        };
        self.scenes[from.0].turns.push(Turn { told, deeds, next });
        Learned::At(next)
    }
}

/// A call with which a client comes to the gate.
#[derive(Debug)]
pub struct Arrival {
    pub notification: Notification,
    pub call: Call,
    pub brings: Box<[u8]>,
    pub playable: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explore::gate::{Span, Target};

    const NOTIFICATION: Notification =
        Notification { id: 7, tid: 8, number: 9, arguments: [0; 6], instruction: 0, native: true };

    fn read_at(address: u64) -> Arrival {
        let into = [Span { address, length: 4 }].into_iter().collect();
        let call = Call::Read { fd: 3, into, offset: None };
        Arrival { notification: NOTIFICATION, call, brings: Box::default(), playable: true }
    }

    fn told(value: i64, bytes: &[u8]) -> Told {
        Told { answer: Reply::Plain(Answer::Value(value)), bytes: bytes.to_vec(), fence: 0 }
    }

    #[test]
    fn what_was_seen_once_is_known_and_nothing_else_is() {
        let mut known = Repertoire::default();
        let Learned::At(reads) =
            known.learn(SceneId::PARKED, told(0, b""), Deeds::default(), Some(read_at(64)))
        else {
            panic!("there is room");
        };
        let records = Deeds { records: vec![(1, vec![1, 5])], ticks: 1, ..Deeds::default() };
        assert_eq!(known.learn(reads, told(2, b"ab"), records.clone(), None), Learned::At(SceneId::PARKED));
        let (turn, deeds, next) = known.after(reads, &told(2, b"ab")).expect("it was seen");
        assert_eq!((deeds, next), (&records, SceneId::PARKED));
        assert_eq!(known.turn(turn), (reads, &told(2, b"ab")));
        assert_eq!(known.after(reads, &told(2, b"ba")), None);
        assert_eq!(known.after(reads, &Told { fence: 1, ..told(2, b"ab") }), None);
        assert_eq!(known.after(SceneId::PARKED, &told(2, b"ab")), None);
    }

    #[test]
    fn who_does_something_else_after_the_same_is_not_relied_on() {
        let first = |known: &mut Repertoire, deeds: Deeds, came: Option<Arrival>| {
            known.learn(SceneId::PARKED, told(0, b""), deeds, came)
        };
        let mut known = Repertoire::default();
        first(&mut known, Deeds::default(), Some(read_at(64)));
        (0..REHEARSALS).for_each(|_| known.note_rehearsal());
        assert!(known.is_sound());
        // Another place in memory is no other call.
        assert!(matches!(first(&mut known, Deeds::default(), Some(read_at(128))), Learned::At(_)));
        assert!(known.is_sound());
        let other =
            Call::Stat { target: Target::Fd(3), form: crate::explore::gate::StatForm::Stat, buffer: 64 };
        for (deeds, came) in [
            (Deeds::default(), Some(Arrival { call: other, ..read_at(64) })),
            (Deeds::default(), Some(Arrival { brings: Box::from(*b"x"), ..read_at(64) })),
            (Deeds { operations: 1, ..Deeds::default() }, Some(read_at(64))),
            (Deeds::default(), None),
        ] {
            let mut known = Repertoire::default();
            first(&mut known, Deeds::default(), Some(read_at(64)));
            (0..REHEARSALS).for_each(|_| known.note_rehearsal());
            assert_eq!(first(&mut known, deeds, came), Learned::Otherwise);
            assert!(!known.is_sound() && !known.is_of_use());
            (0..REHEARSALS).for_each(|_| known.note_rehearsal());
            assert!(!known.is_sound(), "it stays so");
        }
    }
}
