//! What the derives say of mistakes. `TRYBUILD=overwrite` writes the expected texts anew; read them then.

#[test]
fn mistakes_are_reported_where_they_are_with_what_to_write_instead() {
    let cases = trybuild::TestCases::new();
    for kind in [
        "missing",
        "unknown",
        "malformed",
        "conflict",
        "unsupported",
        "types",
        "lookups",
        "several",
        "actions",
        "views",
    ] {
        cases.compile_fail(format!("ui/{kind}/*.rs"));
    }
}
