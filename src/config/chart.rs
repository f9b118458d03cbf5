//! What the chart knows of the settings: the names, types and bounds in its schema are written here, so that none is
//! forgotten there, and a misspelt one is refused before there is a pod. A test alone: the gateway needs none of it.

use std::{env, fs, path::Path};

use serde_json::{Map, Value as Json, json};

use super::{
    schema::{self, Kind, Node},
    value_type::Type,
};

fn of_node(node: &Node) -> Json {
    match &node.kind {
        Kind::Section(children) => {
            let children = children.iter();
            let properties: Map<_, _> = children
                .map(|(name, child)| (name.clone(), of_node(child)))
                .collect();
            json!({ "type": "object", "additionalProperties": false, "properties": properties })
        }
        Kind::Named(_, item) => json!({ "type": "object", "additionalProperties": of_node(item) }),
        Kind::Key(key) => of_type(&key.value_type),
    }
}

fn of_type(value_type: &Type) -> Json {
    match value_type {
        Type::Text => json!({ "type": "string" }),
        Type::Choice(options) => {
            let options: Vec<_> = options.iter().map(|(option, _)| option).collect();
            json!({ "enum": options })
        }
        Type::Whole(minimum, maximum) => {
            let mut schema = json!({ "type": "integer" });
            for (name, bound) in [("minimum", minimum), ("maximum", maximum)] {
                if let Some(bound) = bound {
                    schema[name] = json!(bound);
                }
            }
            schema
        }
        Type::Number => json!({ "type": "number" }),
        Type::Flag => json!({ "type": "boolean" }),
        Type::List(item) => json!({ "type": "array", "items": of_type(item) }),
    }
}

#[test]
fn the_chart_knows_every_setting() {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("helm/easemob-gateway/values.schema.json");
    let text = fs::read_to_string(&path).expect("the chart has a schema");
    let mut values: Json = serde_json::from_str(&text).expect("it is JSON");
    let mut settings = of_node(schema::root());
    // Not chosen yet: the chart says in a sentence that it has to be.
    let modes = settings.pointer_mut("/properties/auth/properties/mode/enum");
    let modes = modes.and_then(Json::as_array_mut);
    modes.expect("auth.mode is a choice").push(json!(""));
    values["definitions"]["settings"] = settings;
    let current = serde_json::to_string_pretty(&values).expect("JSON can be written") + "\n";
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, &current).expect("the chart's schema");
    } else {
        assert!(
            text == current,
            "the chart's schema is outdated: run the tests once with UPDATE_DOCS=1"
        );
    }
}
