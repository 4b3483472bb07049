//! The checked-in schema of reports is what the types say.

use std::env;
use std::fs;
use std::path::Path;

use schemars::generate::SchemaSettings;
use tickloom_loadtest::report::Report;

#[test]
fn the_schema_is_that_of_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("schema/result.v1.json");
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let schema = generator.into_root_schema_for::<Report>();
    let text = serde_json::to_string_pretty(&schema).expect("JSON") + "\n";
    if env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&path, &text).expect("the schema is writable");
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    // Line by line, so that the first difference is what is shown.
    for (number, (kept, now)) in kept.lines().zip(text.lines()).enumerate() {
        let help = "run this test with UPDATE_SCHEMA=1 and look at what changed";
        assert_eq!(kept, now, "line {} of {}: {help}", number + 1, path.display());
    }
    assert_eq!(kept.len(), text.len(), "run this test with UPDATE_SCHEMA=1");
}
