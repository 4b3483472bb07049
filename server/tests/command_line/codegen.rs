//! `tickloom codegen`.

use std::fs;

use crate::Folder;

/// The client's tests compile this file, so that what is written is TypeScript. To write it anew:
/// `cargo run -p tickloom-server -- codegen ts --out protocol/ts/test/rooms.gen.ts`.
#[test]
fn the_committed_types_are_those_of_the_built_in_rooms() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../protocol/ts/test/rooms.gen.ts");
    let ended = Folder::new("committed").run(&["codegen", "ts", "--check", "--out", file], &[]);
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{ended:?}");
}

#[test]
fn types_are_written_for_the_rooms_of_a_configuration_and_checked() {
    let folder = Folder::new("codegen").with_file(
        "[tick]\nrate = 30\n[rooms.board]\n[[rooms.board.components]]\nname = 'cursor'\n\
         kind = 'packed'\nfields = [{ name = 'x', type = 'quant16', max = 4096 }]\n",
    );
    let of_one = folder.run(&["codegen", "ts", "board"], &[]);
    assert_eq!((of_one.code, &*of_one.stderr), (Some(0), ""));
    assert!(of_one.stdout.contains("/** Quant16, 0 to 4096 */"), "{}", of_one.stdout);
    assert!(!of_one.stdout.contains("Arena"), "{}", of_one.stdout);

    let written = || fs::read_to_string(folder.0.join("rooms.ts")).expect("it is there");
    let check = ["codegen", "ts", "--out", "rooms.ts", "--check"];
    let write = &check[..4];
    assert_eq!(folder.run(&check, &[]).code, Some(1), "there is none yet");
    let ended = folder.run(write, &[]);
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "wrote rooms.ts\n"), "{ended:?}");
    assert!(written().contains("A room of the type `arena`: 30 Hz."), "{}", written());
    let board = of_one.stdout.split_once("\n\n").expect("a head").1;
    assert!(written().contains(board), "{}", written());
    let ended = folder.run(&check, &[]);
    assert_eq!((ended.code, &*ended.stdout), (Some(0), "rooms.ts is up to date\n"), "{ended:?}");

    fs::write(folder.0.join("rooms.ts"), "// by hand\n").expect("written");
    let ended = folder.run(&check, &[]);
    let expected = "error: `rooms.ts` is not what the room types make
 |
 = help: the same command without --check writes it
";
    assert_eq!((ended.code, &*ended.stdout, &*ended.stderr), (Some(1), "", expected));
    assert_eq!(written(), "// by hand\n", "it was only looked at");
}
