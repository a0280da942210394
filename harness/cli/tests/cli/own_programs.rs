//! Programs of users, as they are told about what they got wrong.

use crate::command::{Place, verdicts};

/// The rest of a worker: `on(request)` returns the fields of the answer.
const LOOP: &str = r#"
import json, os, sys
def send(**fields):
    print(json.dumps(fields), flush=True)
def serve(on):
    for line in sys.stdin:
        request = json.loads(line)
        if request["t"] == "hello":
            send(t="ready", proto=1, name="mine", ops=["read", "update"])
        elif request["t"] == "op":
            send(**dict({"t": "ok", "id": request["id"]}, **(on(request) or {})))
        else:
            break
def load(path):
    try:
        with open(path) as file:
            return json.load(file)["elements"]
    except (OSError, ValueError):
        return []
def save(path, elements):
    with open(path + ".%d" % os.getpid(), "w") as file:
        json.dump({"elements": elements}, file)
    os.rename(file.name, path)
def on(request):
    if request["op"] == "read":
        return {"elements": load(request["path"])}
    save(request["path"], load(request["path"]) + [request["element"]])
"#;

/// A set that two clients share and one looks at.
fn definition(strategies: &str, more: &str) -> String {
    format!(
        r#"
name    = "mine"
summary = "a test"
source  = "a test"
strategies = [{strategies}]

[state]
file   = "index.json"
object = "set"

[[client]]
role  = "importer"
count = 2
does  = {{ update = 1 }}

[[client]]
role  = "page"
does  = {{ read = 1 }}
{more}
"#
    )
}

#[test]
fn a_worker_that_never_greets_is_told_once_what_it_must_print() {
    let place = Place::new();
    place.file("never.py", "import time\ntime.sleep(1000)\n");
    let claims = r#"claims = ["no-lost-updates@concurrency", "no-lost-updates@kill", "progress@pause"]"#;
    let own = format!("[strategy.mine]\nworker = [\"python3\", \"never.py\"]\n{claims}");
    place.file("mine.toml", &definition("\"mine\"", &own));
    let finished = place.run(&["run", "mine.toml", "--budget", "2s"]);
    let (said, told) = (finished.stderr(), finished.stdout());
    assert_eq!(finished.code(), 3, "{told}{said}");
    assert!(
        said.contains("`mine` (python3 never.py) did not greet within 10s; it must print {\"t\":\"ready\""),
        "{said}"
    );
    // All clients and all hazards have the same to say.
    assert_eq!(said.matches("did not greet").count(), 1, "{said}");
    for internal in ["client process", "step Open", "opening"] {
        assert!(!said.contains(internal) && !told.contains(internal), "{internal}: {told}{said}");
    }
    assert!(!told.contains("mutual"), "a set has no critical section: {told}");
    let run = place.run_json();
    let cells = verdicts(&run);
    for claim in ["no-lost-updates@concurrency", "no-lost-updates@kill", "progress@pause"] {
        let cell = format!("mine mine {claim}");
        assert!(cells.iter().any(|(name, verdict)| *name == cell && verdict == "inconclusive"), "{cells:?}");
    }
}

#[test]
fn a_worker_that_dies_at_once_is_quoted_once() {
    let place = Place::new();
    place.file("dying.py", "raise SystemExit(\"no such table: runs\")\n");
    let own =
        "[strategy.mine]\nworker = [\"python3\", \"dying.py\"]\nclaims = [\"atomic-reads@concurrency\"]";
    place.file("mine.toml", &definition("\"mine\"", own));
    let finished = place.run(&["run", "mine.toml", "--budget", "2s"]);
    let said = finished.stderr();
    assert_eq!(finished.code(), 3, "{}{said}", finished.stdout());
    assert_eq!(said.matches("no such table: runs").count(), 1, "{said}");
    assert!(said.contains("`mine` (python3 dying.py) did not become ready"), "{said}");
    assert!(!said.contains("client process"), "{said}");
}

#[test]
fn every_strategy_of_a_definition_is_put_to_what_one_of_them_promises_to_survive() {
    let place = Place::new();
    place.file("store.py", &format!("{LOOP}\nserve(on)\n"));
    let worker = "worker = [\"python3\", \"store.py\"]";
    let own =
        format!("[strategy.first]\n{worker}\nclaims = [\"atomic-reads@kill\"]\n[strategy.second]\n{worker}");
    place.file("mine.toml", &definition("\"first\", \"second\", \"flock-sibling\"", &own));
    let finished = place.run(&["run", "mine.toml", "--budget", "6s"]);
    assert_eq!(finished.code(), 0, "{}{}", finished.stdout(), finished.stderr());
    let run = place.run_json();
    for strategy in ["first", "second", "flock-sibling"] {
        let cell = format!("mine {strategy} atomic-reads@kill");
        assert!(verdicts(&run).iter().any(|(name, _)| *name == cell), "{cell} was not looked at");
    }
    // Whatever was cut short by the kills of the harness is one thing, however many processes there were.
    let rows = run["scenarios"][0]["strategies"].as_array().expect("strategies");
    let errors = rows.iter().flat_map(|row| row["errors"].as_array().cloned().unwrap_or_default());
    let killed: Vec<String> = errors
        .filter(|error| error["hazard"] == "kill" && error["operation"] == "update")
        .map(|error| error["message"].as_str().expect("a message").to_owned())
        .filter(|message| message.contains("killed"))
        .collect();
    let first = "killed by the harness in the middle of update";
    assert!(killed.iter().all(|message| message == first) && killed.len() <= 2, "{killed:?}");
}

#[test]
fn a_file_that_a_program_leaves_comes_with_the_line_that_declares_it() {
    let place = Place::new();
    let leaving =
        "serve(lambda request: (open(request[\"path\"] + \".mark\", \"w\").close(), on(request))[1])";
    place.file("store.py", &format!("{LOOP}\n{leaving}\n"));
    let own = "[strategy.mine]\nworker = [\"python3\", \"store.py\"]\nclaims = [\"no-residue@concurrency\"]";
    place.file("mine.toml", &definition("\"mine\"", own));
    let finished = place.run(&["run", "mine.toml", "--budget", "2s"]);
    assert_eq!(finished.code(), 1, "{}{}", finished.stdout(), finished.stderr());
    let told: String = finished.stdout().split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("keeps = [\"*.lock\"]"), "{told}");
    // With that line, it is no residue.
    place.file("mine.toml", &definition("\"mine\"", &format!("{own}\nkeeps = [\"*.mark\"]")));
    let finished = place.run(&["run", "mine.toml", "--budget", "2s"]);
    assert_eq!(finished.code(), 0, "{}{}", finished.stdout(), finished.stderr());
}

#[test]
fn a_fresh_process_for_each_operation_is_not_shown_as_the_harness_running_itself() {
    let place = Place::new();
    let once =
        definition("\"flock-sibling\"", "").replace("count = 2", "count = 2\nlifetime = \"operation\"");
    let more = "[require]\nguarantees = [\"progress\"]\nhazards = [\"kill\"]";
    place.file("mine.toml", &format!("{once}\n{more}"));
    let finished = place.run(&["run", "mine.toml", "--budget", "3s", "--full"]);
    let run = place.run_json().to_string();
    assert!(run.contains("killed by the harness"), "no operation was cut short: {run}");
    for text in [&finished.stdout(), &finished.stderr(), &run] {
        assert!(!text.contains("/proc/self/exe"), "{text}");
    }
}
