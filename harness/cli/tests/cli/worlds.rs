//! The worlds that explored executions begin in: here a lock that somebody has who lives on.

use serde_json::Value;

use crate::command::Place;

const HELD: &str = r#"
name = "held"
strategies = ["lock-flock", "lock-exclusive-create", "lock-heartbeat", "lock-age-timeout"]
[state]
file = "active.lock"
object = "lock"
[[client]]
role = "plan"
count = 2
does = { acquire = 1 }
hold = "200 us"
[before]
lock = "live-holder"
[stress]
lease = "40 ms"
pause = "100 ms"
[explore]
operations = 1
"#;

fn mutual_exclusion<'r>(run: &'r Value, strategy: &str) -> &'r Value {
    let list = |value: &'r Value| value.as_array().expect("a list");
    let rows = list(&run["scenarios"][0]["strategies"]).iter().filter(|row| row["name"] == strategy);
    let mut cells = rows.flat_map(|row| list(&row["verdicts"]));
    cells.find(|cell| cell["guarantee"] == "mutual-exclusion").expect("it was looked at")
}

#[test]
fn nobody_gets_a_lock_whose_holder_lives_unless_its_age_counts_alone() {
    let place = Place::new();
    place.file("held.toml", HELD);
    let arguments = ["run", "held.toml", "--engine", "explore", "--hazard", "concurrency", "--budget", "60s"];
    let finished = place.run(&arguments);
    assert_eq!(finished.code(), 0, "{}{}", finished.stdout(), finished.stderr());
    assert_eq!(place.left_behind(), Vec::<String>::new());
    let run = place.run_json();
    // The heartbeat goes on while others look.
    for kept in ["lock-flock", "lock-exclusive-create", "lock-heartbeat"] {
        assert_eq!(mutual_exclusion(&run, kept)["verdict"], "verified", "{kept}");
    }
    let stolen = mutual_exclusion(&run, "lock-age-timeout");
    assert_eq!(stolen["verdict"], "violated", "{stolen}");
    let found = &stolen["anomalies"][0];
    assert_eq!(found["kind"], "two-holders");
    let why = found["witness"]["explanation"].as_str().expect("text");
    assert!(why.starts_with("earlier-holder ") && why.contains("never released it"), "{why}");
    let token = found["witness"]["replay"].as_str().expect("a token");
    assert!(token.starts_with("held/lock-age-timeout/concurrency/1:1/"), "one thief is enough: {token}");
    let again = place.run(&["replay", token, "held.toml"]);
    assert_eq!(again.code(), 1, "{}", again.stderr());
    assert!(again.stdout().contains("two-holders"), "{}", again.stdout());
    assert_eq!(place.left_behind(), Vec::<String>::new());
}
