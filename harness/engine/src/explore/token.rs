//! A replay token: everything that runs one execution again, in a line that can be pasted.
//!
//! ```text
//! index/flock-sibling-unlink/concurrency/2:2.0/9c0f3a52b7d11e04/A6B9A3C4
//! ```
//!
//! Scenario, strategy, hazard, operations of each client, a digest of the definition, and the
//! schedule: who took how many steps. Clients are letters, further threads of theirs small ones; `Ax`
//! is where client A is killed, `Az` where it goes on after a pause, `Ay` where it comes late to an operation.
//!
//! Operations are followed by the processes of each role, in the order of the definition: `1:2.0` is
//! one operation of each of two processes of the first role, and nobody of the second.

use std::fmt;
use std::str::FromStr;

use tearproof_core::claim::Hazard;
use tearproof_core::scenario::{ExploreLimits, Require, Scenario};

use super::arena::THREADS_OF_A_CLIENT;
use super::scale::Cast;
use super::system::ThreadId;

/// Letters from `a` on that number further threads.
const SMALL_LETTERS: u16 = 20;
/// What stands for a kill of a client, after its letter, for its coming late, and for its going on after a pause.
const KILL: char = 'x';
const COMES_LATE: char = 'y';
const GOES_ON: char = 'z';

/// What runs one execution again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The scenario, by name.
    pub scenario: String,
    /// The strategy, by name.
    pub strategy: String,
    /// What the environment does.
    pub hazard: Hazard,
    /// Who plays, and how long.
    pub cast: Cast,
    /// [`digest_of`] the scenario.
    pub definition: u64,
    /// Who takes each step.
    pub schedule: Vec<ThreadId>,
}

/// A text is no token.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no replay token: {1}")]
pub struct TokenError(String, &'static str);

/// A digest of everything in a definition that an execution depends on, the same on every machine.
pub fn digest_of(scenario: &Scenario) -> u64 {
    let mut scenario = scenario.clone();
    // How far it is looked, what is compared and what is asked for makes no other execution.
    scenario.explore = ExploreLimits::default();
    scenario.strategies.clear();
    scenario.require = Require { guarantees: Vec::new(), hazards: Vec::new() };
    scenario.summary.clear();
    scenario.source.clear();
    // Where it lies does not matter.
    for program in &mut scenario.programs {
        program.directory.clear();
    }
    let text = serde_json::to_vec(&scenario).expect("a scenario is plain data");
    // FNV-1a.
    text.iter().fold(0xcbf2_9ce4_8422_2325, |digest: u64, byte| {
        (digest ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// A thread's name: the letter of its process, and a small one for further threads.
pub fn name_of(thread: ThreadId) -> String {
    let (process, number) = (thread.0 / THREADS_OF_A_CLIENT, thread.0 % THREADS_OF_A_CLIENT);
    let client = |number: u16| char::from(b'A' + number.min(25) as u8);
    if thread.is_reluctant() {
        let process = process & !(ThreadId::RELUCTANT / THREADS_OF_A_CLIENT);
        let fate = match number {
            0 => KILL,
            1 => GOES_ON,
            _ => COMES_LATE,
        };
        return format!("{}{fate}", client(process));
    }
    format!("{}{}", client(process), small_letters(number))
}

/// A number in small letters, without those that stand for fates: nothing, `a` to `t`, `aa`, `ab`, …
fn small_letters(mut number: u16) -> String {
    let mut letters = Vec::new();
    while number > 0 {
        number -= 1;
        letters.insert(0, b'a' + (number % SMALL_LETTERS) as u8);
        number /= SMALL_LETTERS;
    }
    letters.into_iter().map(char::from).collect()
}

impl fmt::Display for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, strategy, hazard, cast, definition, schedule } = self;
        let processes: Vec<String> = cast.processes.iter().map(u32::to_string).collect();
        let cast = format!("{}:{}", cast.operations, processes.join("."));
        write!(out, "{scenario}/{strategy}/{hazard}/{cast}/{definition:016x}/")?;
        for run in schedule.chunk_by(|one, next| one == next) {
            write!(out, "{}{}", name_of(run[0]), run.len())?;
        }
        Ok(())
    }
}

impl FromStr for Token {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let wrong = |why| TokenError(text.to_owned(), why);
        let parts: Vec<&str> = text.trim().split('/').collect();
        let [scenario, strategy, hazard, players, definition, runs] = parts[..] else {
            return Err(wrong("it has six parts, separated by slashes"));
        };
        Ok(Self {
            scenario: scenario.to_owned(),
            strategy: strategy.to_owned(),
            hazard: hazard.parse().map_err(|_| wrong("its third part is a hazard"))?,
            cast: cast(players).ok_or_else(|| wrong("its fourth part is a cast, as 1:2.1"))?,
            definition: u64::from_str_radix(definition, 16)
                .map_err(|_| wrong("its fifth part is a hexadecimal number"))?,
            schedule: schedule(runs).ok_or_else(|| wrong("its last part is a schedule, as A6B9A3"))?,
        })
    }
}

fn cast(players: &str) -> Option<Cast> {
    let (operations, processes) = players.split_once(':')?;
    let processes: Result<Vec<u32>, _> = processes.split('.').map(str::parse).collect();
    Some(Cast { operations: operations.parse().ok()?, processes: processes.ok()? })
}

fn schedule(mut runs: &str) -> Option<Vec<ThreadId>> {
    let mut schedule = Vec::new();
    while let Some(letter) = runs.chars().next() {
        if !letter.is_ascii_uppercase() {
            return None;
        }
        runs = &runs[1..];
        let mut thread = (letter as u16 - u16::from(b'A')) * THREADS_OF_A_CLIENT;
        let mut number = 0_u16;
        while let Some(small) = runs.chars().next().filter(char::is_ascii_lowercase) {
            match small {
                KILL => thread |= ThreadId::RELUCTANT,
                GOES_ON => thread |= ThreadId::RELUCTANT | 1,
                COMES_LATE => thread |= ThreadId::RELUCTANT | 2,
                _ => {
                    let digit = small as u16 - u16::from(b'a') + 1;
                    let next = number.checked_mul(SMALL_LETTERS)?.checked_add(digit);
                    number = next.filter(|&next| digit <= SMALL_LETTERS && next < THREADS_OF_A_CLIENT)?;
                }
            }
            runs = &runs[1..];
        }
        thread += number;
        let digits = runs.find(|c: char| !c.is_ascii_digit()).unwrap_or(runs.len());
        let count: usize = runs[..digits].parse().ok().filter(|count| *count <= 100_000)?;
        runs = &runs[digits..];
        schedule.extend(std::iter::repeat_n(ThreadId(thread), count));
    }
    Some(schedule)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back() {
        const N: u16 = THREADS_OF_A_CLIENT;
        let schedule = [0, 0, 0, N, N, 0, N + 1, 2 * N + 2, N + 20, N + 21, N + 255].map(ThreadId).to_vec();
        let token = Token {
            scenario: "index".to_owned(),
            strategy: "flock-sibling-unlink".to_owned(),
            hazard: Hazard::Concurrency,
            cast: Cast { operations: 2, processes: vec![2, 1] },
            definition: 0x1234,
            schedule,
        };
        let text = token.to_string();
        assert_eq!(
            text,
            "index/flock-sibling-unlink/concurrency/2:2.1/0000000000001234/A3B2A1Ba1Cb1Bt1Baa1Blo1"
        );
        assert_eq!(text.parse::<Token>().expect("a token"), token);
    }

    #[test]
    fn fates_read_back() {
        for text in ["i/s/kill/1:2/0000000000001234/A3Bx1A2", "i/s/pause/1:2/0000000000001234/A3By1B2Az1A1"] {
            assert_eq!(text.parse::<Token>().expect("a token").to_string(), text);
        }
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for text in [
            "",
            "index",
            "a/b/c/1:1/2/A1",
            "a/b/kill/x:1/2/A1",
            "a/b/kill/1/2/A1",
            "a/b/kill/1:/2/A1",
            "a/b/kill/1:1/zz/A1",
            "a/b/kill/1:1/2/a1",
            "a/b/kill/1:1/2/Av1",
            "a/b/kill/1:1/2/Atttttt1",
        ] {
            assert!(text.parse::<Token>().is_err(), "{text}");
        }
    }
}
