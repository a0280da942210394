//! How soon a broken strategy is found out: `in-place-truncate` in the `progress` scenario, once for
//! each of a hundred seeds, from the moment in which its clients are let loose to its first torn
//! read. The whole command is run each time, so its own time is shown beside.

use std::process::Command;
use std::time::Instant;

use serde_json::Value;

const SEEDS: u32 = 100;
/// Several times what it may take on a quiet machine, so that a busy one does not cut it short.
const BUDGET: &str = "1s";

fn main() {
    let place = tempfile::tempdir_in("/dev/shm").expect("tmpfs at /dev/shm");
    let mut found_ms = Vec::new();
    let mut whole_ms = Vec::new();
    for seed in 1..=SEEDS {
        let begun = Instant::now();
        let status = Command::new(env!("CARGO_BIN_EXE_tearproof"))
            .args(["run", "progress", "--strategy", "in-place-truncate", "--hazard", "concurrency"])
            .args(["--budget", BUDGET, "--seed", &seed.to_string()])
            .current_dir(place.path())
            .output()
            .expect("the command starts")
            .status;
        assert_eq!(status.code(), Some(0), "seed {seed}");
        whole_ms.push(begun.elapsed().as_millis() as u64);
        let text = std::fs::read_to_string(place.path().join("target/tearproof/run.json")).expect("a result");
        let run: Value = serde_json::from_str(&text).expect("JSON");
        let cells = run["scenarios"][0]["strategies"][0]["verdicts"].as_array().expect("cells");
        let torn = cells
            .iter()
            .filter(|cell| cell["hazard"] == "concurrency")
            .flat_map(|cell| cell["anomalies"].as_array().expect("anomalies"))
            .find(|anomaly| anomaly["kind"] == "torn-read");
        found_ms.extend(torn.and_then(|anomaly| anomaly["first_after_ms"].as_u64()));
    }
    found_ms.sort_unstable();
    whole_ms.sort_unstable();
    println!(
        "first torn read of in-place-truncate: found with {} of {SEEDS} seeds; median {} ms, worst {} ms after the start \
         of the clients (the whole command: median {} ms)",
        found_ms.len(),
        found_ms.get(found_ms.len() / 2).map_or_else(|| "-".to_owned(), u64::to_string),
        found_ms.last().map_or_else(|| "-".to_owned(), u64::to_string),
        whole_ms[whole_ms.len() / 2]
    );
}
