//! The Python adapter that comes with the scenarios.

use super::*;

/// The launcher and dashboard that come with the scenarios.
fn progress_store(world: &World, form: &str) -> (Box<dyn Client>, Arc<ChildSlot>) {
    let command = ["python3", "progress_store.py", form].map(str::to_owned).to_vec();
    let adapters = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scenarios/adapters"));
    let program = Program { directory: adapters, ..world.program(ProgramForm::Worker { command }) };
    ProgramStrategy::new(&program, Lifetime::Session, world.object, 7)
        .open(&world.context())
        .expect("the adapter starts")
}

#[test]
fn the_progress_store_keeps_documents_and_shows_the_message_of_its_source() {
    if !python_is_here() {
        return;
    }
    for form in ["as-found", "atomic", "atomic-unique"] {
        let world = World::register();
        let ClientContext { file, dir, shape, .. } = world.context();
        let (mut client, _slot) = progress_store(&world, form);
        let mut bytes = Vec::new();
        assert_eq!(client.read(&mut bytes).unwrap(), Found::Absent);
        let mut document = Vec::new();
        shape.render(Stamp::new(3, 1), &mut document);
        client.write(&document).unwrap();
        assert_eq!(client.read(&mut bytes).unwrap(), Found::Present);
        assert_eq!(shape.verify_content(&bytes), Ok(Stamp::new(3, 1)));
        assert_eq!(std::fs::read_dir(dir).unwrap().count(), 1, "{form} left something behind");

        let damage: [(&[u8], TornKind, &str); 4] = [
            (b"", TornKind::Empty, "Expecting value: line 1 column 1 (char 0)"),
            (&document[..document.len() / 2], TornKind::Partial, "Unterminated string"),
            (&[&document[..], b"}"].concat(), TornKind::Mixed, "Extra data"),
            (b"\"\xc3", TornKind::Partial, "can't decode"),
        ];
        for (content, kind, complaint) in damage {
            std::fs::write(&file, content).unwrap();
            match client.read(&mut bytes) {
                Err(StrategyError::Torn { kind: seen, message }) => {
                    assert_eq!(seen, kind);
                    let begin = format!("Error loading JSON from {}: ", file.display());
                    assert_mentions(&message, &[&begin, complaint]);
                }
                other => panic!("{form}: {other:?}"),
            }
        }
    }
}
