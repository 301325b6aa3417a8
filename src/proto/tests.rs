//! The types are the `.proto` files: both are read as text, and every message, field and value compared.

use std::collections::BTreeSet;

/// `message.field = number kind` of every field and `enum.value = number` of every value.
type Lines = BTreeSet<String>;

/// A `.proto` file as far as ours use the language: top-level messages and enums, one statement a line.
fn of_proto(text: &str) -> Lines {
    let (mut lines, mut owner, mut oneof) = (Lines::new(), "", String::new());
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("//")) {
        let words: Vec<&str> = line.trim_end_matches(';').split_whitespace().collect();
        match words[..] {
            ["message" | "enum", name, "{"] => owner = name,
            ["oneof", name, "{"] => oneof = format!("{name}/"),
            ["}"] if !oneof.is_empty() => oneof.clear(),
            ["}"] | ["syntax" | "package" | "import" | "reserved", ..] => {}
            [value, "=", number] => _ = lines.insert(format!("{owner}.{value} = {number}")),
            [.., name, "=", number] => {
                let kind = words[..words.len() - 3].join(" ");
                lines.insert(format!("{owner}.{oneof}{name} = {number} {kind}"));
            }
            _ => panic!("not understood: {line}"),
        }
    }
    lines
}

/// The same of the Rust file: an attribute stands on the line before its field.
fn of_rust(text: &str) -> Lines {
    let (mut lines, mut owner, mut attribute, mut oneofs) = (Lines::new(), String::new(), None, Vec::new());
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum ")) {
            name.trim_end_matches([' ', '{']).clone_into(&mut owner);
        } else if let Some(inner) = line.strip_prefix("#[prost(") {
            attribute = Some(inner.trim_end_matches(")]"));
        } else if let Some((value, number)) = line.strip_suffix(',').and_then(|line| line.split_once(" = ")) {
            lines.insert(format!("{owner}.{} = {number}", upper(value)));
        } else if let Some(attribute) = attribute.take() {
            let (name, rust) = match line.strip_prefix("pub ") {
                Some(field) => field.trim_end_matches(',').split_once(": ").unwrap(),
                None => line.trim_end_matches("),").split_once('(').unwrap(),
            };
            let name = name.trim_start_matches("r#");
            if attribute.starts_with("oneof") {
                oneofs.push((rust.trim_start_matches("Option<").trim_end_matches('>').to_owned(), owner.clone(), name));
                continue;
            }
            let number = attribute.split_once("tag = \"").unwrap().1.trim_end_matches('"');
            let kind = kind(attribute, rust);
            lines.insert(match oneofs.iter().find(|(of, ..)| *of == owner) {
                Some((_, message, oneof)) => {
                    format!("{message}.{oneof}/{} = {number} {kind}", upper(name).to_lowercase())
                }
                None => format!("{owner}.{name} = {number} {kind}"),
            });
        }
    }
    lines
}

/// The kind of a field in the words of a `.proto` file.
fn kind(attribute: &str, rust: &str) -> String {
    let (first, rest) = attribute.split_once(", ").unwrap();
    let inner = rust.trim_start_matches("Vec<").trim_start_matches("Option<").trim_end_matches('>');
    let kind = match first.split_once(" = ").map_or(first, |(word, _)| word) {
        "message" => match inner {
            "u32" => "google.protobuf.UInt32Value",
            "()" => "google.protobuf.Empty",
            "Any" => "google.protobuf.Any",
            "Status" => "google.rpc.Status",
            "Struct" => "google.protobuf.Struct",
            "Extension" if attribute.contains("repeated") => "Extension",
            inner => inner,
        },
        "enumeration" => first.split('"').nth(1).unwrap(),
        "btree_map" if attribute.contains("string, string") => "map<string, string>",
        "btree_map" => "map<string, PortList>",
        word => word,
    };
    // A message's field always may be absent; a scalar's has to say so.
    match rest {
        _ if rest.contains("repeated") => format!("repeated {kind}"),
        _ if rest.contains("optional") && first != "message" => format!("optional {kind}"),
        _ => kind.to_owned(),
    }
}

/// `WorkloadSelector` as `WORKLOAD_SELECTOR`.
fn upper(name: &str) -> String {
    let humps = name.char_indices().map(|(at, c)| match at {
        1.. if c.is_uppercase() => format!("_{c}"),
        _ => c.to_uppercase().to_string(),
    });
    humps.collect()
}

#[test]
fn types_are_what_the_files_say() {
    let check = |proto: &str, rust: &str, fields: usize| {
        let proto = proto.replace("istio.workload.Extension", "Extension").replace("istio.security.", "");
        let (wanted, found) = (of_proto(&proto), of_rust(rust));
        assert_eq!(found.difference(&wanted).collect::<Vec<_>>(), Vec::<&String>::new(), "only in Rust");
        assert_eq!(wanted.difference(&found).collect::<Vec<_>>(), Vec::<&String>::new(), "only in the file");
        assert_eq!(wanted.len(), fields, "the files were not read");
    };
    check(include_str!("workload.proto"), include_str!("workload.rs"), 104);
    check(include_str!("security.proto"), include_str!("security.rs"), 35);
    check(include_str!("extension.proto"), include_str!("extension.rs"), 12);
    check(include_str!("discovery.proto"), include_str!("discovery.rs"), 18);
    check(include_str!("zds.proto"), include_str!("zds.rs"), 16);
    check(include_str!("ca.proto"), include_str!("ca.rs"), 4);
}

#[test]
fn a_difference_is_found() {
    let proto = "message A {\n  // a\n  string b = 1;\n  repeated C c = 2;\n  oneof d {\n    E e = 3;\n  }\n}\nenum F {\n  G_H = 4;\n}\n";
    let wanted = ["A.b = 1 string", "A.c = 2 repeated C", "A.d/e = 3 E", "F.G_H = 4"];
    assert_eq!(of_proto(proto).iter().collect::<Vec<_>>(), wanted);
    let rust = "pub struct A {\n#[prost(string, tag = \"1\")]\npub b: String,\n#[prost(message, repeated, tag = \"2\")]\npub c: Vec<C>,\n\
                #[prost(oneof = \"AD\", tags = \"3\")]\npub d: Option<AD>,\n}\npub enum AD {\n#[prost(message, tag = \"3\")]\nE(E),\n}\n\
                pub enum F {\nGH = 4,\n}\n";
    assert_eq!(of_rust(rust).iter().collect::<Vec<_>>(), wanted);
    assert_ne!(of_rust(&rust.replace("string, tag", "bytes = \"vec\", tag")), of_proto(proto));
    assert_ne!(of_rust(&rust.replace("\"2\"", "\"4\"")), of_proto(proto));
}

/// Bytes as another program writes them, so that the numbers above are not only equal to themselves.
#[test]
fn the_bytes_of_a_message() {
    use super::security::{Authorization, Group, Match, Rules};
    use prost::Message;
    let matches = vec![Match { destination_ports: vec![80], ..Match::default() }];
    let policy = Authorization {
        name: "p".into(),
        scope: 2,
        action: 1,
        groups: vec![Group { rules: vec![Rules { matches }] }],
        ..Authorization::default()
    };
    let groups = [0x2a, 7, 0x0a, 5, 0x12, 3, 0x4a, 1, 80];
    assert_eq!(policy.encode_to_vec(), [&[0x0a, 1, b'p', 0x18, 2, 0x20, 1][..], &groups].concat());
}
