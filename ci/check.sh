#!/usr/bin/env bash
# The one entry that every CI calls: formatting, lints, documentation, the README's test command,
# then a quick run of the main job whose run.json is validated. Exits with the first failure.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n=== %s\n' "$*"; }

step "tools that the tests use beyond the Rust toolchain"
missing=()
command -v python3 >/dev/null || missing+=(python3)
command -v cc >/dev/null || missing+=(gcc libc6-dev)
# What `tests/programs` is written for, or tries as it is.
command -v git >/dev/null || missing+=(git)
command -v sqlite3 >/dev/null || missing+=(sqlite3)
command -v go >/dev/null || missing+=(golang-go)
command -v node >/dev/null || missing+=(nodejs)
command -v flock >/dev/null || missing+=(util-linux)
command -v dotlockfile >/dev/null || missing+=(liblockfile-bin)
command -v lockfile >/dev/null || missing+=(procmail)
if [ "${#missing[@]}" -gt 0 ]; then
    echo "installing: ${missing[*]}"
    apt-get update -q && apt-get install -qy --no-install-recommends "${missing[@]}"
fi

step "formatting"
cargo fmt --all -- --check

step "lints"
cargo clippy --workspace --all-targets --locked -- -D warnings

step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

step "tests (the README's command)"
cargo test --release --workspace --locked

step "the main job, quickly"
# With the features that the tests had: `cargo run -p` would compile everything once more.
cargo build --release --workspace --locked
target=${CARGO_TARGET_DIR:-target}
tearproof=$target/release/tearproof
out=$target/tearproof-ci
status=0
"$tearproof" run --quick --out "$out" || status=$?
# 3: something claimed stayed inconclusive. Only a violated claim (1) or a failure (2, 4) is wrong.
if [ "$status" -ne 0 ] && [ "$status" -ne 3 ]; then
    echo "the main job ended with exit code $status" >&2
    exit "$status"
fi
"$tearproof" validate "$out/run.json"
