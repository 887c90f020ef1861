//! The schemas of rows, as serde reads them.

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;

use expect_test::{Expect, expect};
use serde::Deserialize;
use serde::de::Error;
use snapback::{Body, Pipeline, Row, schema_of};

fn check<T: Deserialize<'static>>(expect: Expect) {
    expect.assert_eq(&schema_of::<T>().to_string());
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(dead_code, reason = "it is only read")]
struct Everything<'a> {
    #[serde(borrow)]
    some_text: Cow<'a, str>,
    #[serde(rename = "n")]
    number: i32,
    #[serde(default)]
    ratio: f64,
    #[serde(alias = "marking")]
    flag: bool,
    maybe: Option<i64>,
    list: Vec<Inner>,
    map: HashMap<String, u8>,
    pair: (u8, String),
    point: [f32; 2],
    #[serde(skip)]
    own: u8,
    color: Color,
    shape: Shape,
    wrapped: Meters,
    letter: char,
    anything: serde_json::Value,
    nothing: (),
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "it is only read")]
struct Inner {
    value: NonZeroU32,
    address: Ipv4Addr,
    either: Option<IpAddr>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Color {
    DarkRed,
    Blue,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "it is only read")]
enum Shape {
    Dot,
    Circle { radius: f64 },
    Line(f32, f32),
    Named(String),
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "it is only read")]
struct Meters(f64);

#[test]
fn fields_are_described_as_serde_reads_them() {
    let schema = schema_of::<Everything<'static>>();
    expect![[r#"
        {
          "additionalProperties": false,
          "properties": {
            "anything": {},
            "color": {
              "enum": [
                "dark_red",
                "blue"
              ],
              "type": "string"
            },
            "flag": {
              "type": "boolean"
            },
            "letter": {
              "maxLength": 1,
              "minLength": 1,
              "type": "string"
            },
            "list": {
              "items": {
                "properties": {
                  "address": {
                    "format": "ipv4",
                    "type": "string"
                  },
                  "either": {
                    "type": [
                      "string",
                      "null"
                    ]
                  },
                  "value": {
                    "format": "uint32",
                    "maximum": 4294967295,
                    "minimum": 1,
                    "type": "integer"
                  }
                },
                "required": [
                  "value",
                  "address"
                ],
                "type": "object"
              },
              "type": "array"
            },
            "map": {
              "additionalProperties": {
                "format": "uint8",
                "maximum": 255,
                "minimum": 0,
                "type": "integer"
              },
              "type": "object"
            },
            "maybe": {
              "format": "int64",
              "maximum": 9223372036854775807,
              "minimum": -9223372036854775808,
              "type": [
                "integer",
                "null"
              ]
            },
            "n": {
              "format": "int32",
              "maximum": 2147483647,
              "minimum": -2147483648,
              "type": "integer"
            },
            "nothing": {
              "type": "null"
            },
            "pair": {
              "maxItems": 2,
              "minItems": 2,
              "prefixItems": [
                {
                  "format": "uint8",
                  "maximum": 255,
                  "minimum": 0,
                  "type": "integer"
                },
                {
                  "type": "string"
                }
              ],
              "type": "array"
            },
            "point": {
              "items": {
                "format": "float",
                "type": "number"
              },
              "maxItems": 2,
              "minItems": 2,
              "type": "array"
            },
            "ratio": {
              "format": "double",
              "type": "number"
            },
            "shape": {
              "oneOf": [
                {
                  "enum": [
                    "Dot"
                  ],
                  "type": "string"
                },
                {
                  "additionalProperties": false,
                  "properties": {
                    "Circle": {
                      "properties": {
                        "radius": {
                          "format": "double",
                          "type": "number"
                        }
                      },
                      "required": [
                        "radius"
                      ],
                      "type": "object"
                    }
                  },
                  "required": [
                    "Circle"
                  ],
                  "type": "object"
                },
                {
                  "additionalProperties": false,
                  "properties": {
                    "Line": {
                      "items": {
                        "format": "float",
                        "type": "number"
                      },
                      "maxItems": 2,
                      "minItems": 2,
                      "type": "array"
                    }
                  },
                  "required": [
                    "Line"
                  ],
                  "type": "object"
                },
                {
                  "additionalProperties": false,
                  "properties": {
                    "Named": {
                      "type": "string"
                    }
                  },
                  "required": [
                    "Named"
                  ],
                  "type": "object"
                }
              ]
            },
            "someText": {
              "type": "string"
            },
            "wrapped": {
              "format": "double",
              "type": "number"
            }
          },
          "required": [
            "someText",
            "n",
            "flag",
            "list",
            "map",
            "pair",
            "point",
            "color",
            "shape",
            "wrapped",
            "letter",
            "anything",
            "nothing"
          ],
          "type": "object"
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&schema).unwrap());
}

#[test]
fn what_is_read_from_any_value_is_any_value() {
    #[derive(Deserialize)]
    #[serde(untagged)]
    #[expect(dead_code, reason = "it is only read")]
    enum Untagged {
        A(u8),
        B(String),
    }
    #[derive(Deserialize)]
    #[serde(tag = "kind")]
    #[expect(dead_code, reason = "it is only read")]
    enum Tagged {
        A { a: u8 },
    }
    check::<Untagged>(expect!["{}"]);
    check::<Tagged>(expect!["{}"]);
}

#[test]
fn a_struct_with_flattened_fields_is_an_object_with_its_own() {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "it is only read")]
    struct Flat {
        own: u8,
        #[serde(flatten)]
        rest: HashMap<String, serde_json::Value>,
    }
    check::<Flat>(expect![[
        r#"{"properties":{"own":{"format":"uint8","maximum":255,"minimum":0,"type":"integer"}},"required":["own"],"type":"object"}"#
    ]]);
}

#[test]
fn a_type_inside_itself_is_told_once() {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "it is only read")]
    struct Tree {
        name: String,
        children: Vec<Tree>,
    }
    check::<Tree>(expect![[
        r#"{"properties":{"children":{"items":{},"type":"array"},"name":{"type":"string"}},"required":["name","children"],"type":"object"}"#
    ]]);
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "it is only read")]
    struct Endless(Box<Endless>);
    check::<Endless>(expect!["{}"]);
}

#[test]
fn types_that_read_by_hand_are_asked_too() {
    struct Even;
    impl<'de> Deserialize<'de> for Even {
        fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
            match u8::deserialize(reader)? % 2 {
                0 => Ok(Even),
                _ => Err(D::Error::custom("odd")),
            }
        }
    }
    /// Nothing that it is given suits it, and it says so the hard way.
    struct Hasty;
    impl<'de> Deserialize<'de> for Hasty {
        fn deserialize<D: serde::Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
            let text = String::deserialize(reader)?;
            assert!(text.starts_with("hasty-"));
            Ok(Hasty)
        }
    }
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "it is only read")]
    struct Both {
        even: Even,
        hasty: Hasty,
        last: bool,
    }
    check::<Both>(expect![[
        r#"{"properties":{"even":{"format":"uint8","maximum":255,"minimum":0,"type":"integer"},"hasty":{"type":"string"},"last":{"type":"boolean"}},"required":["even","hasty"],"type":"object"}"#
    ]]);
}

#[test]
fn a_pipeline_takes_what_its_row_is() {
    #[derive(Deserialize, Row)]
    struct Order<'a> {
        #[serde(borrow)]
        sku: Cow<'a, str>,
    }
    let chain = Pipeline::detached()
        .parse_request::<Order>()
        .map(|row| row.sku.len())
        .make_reply()
        .into_chain();
    let description = chain.describe();
    let Some(Body::Taken { content, .. }) = &description.body else {
        panic!("{description:?}");
    };
    assert_eq!(content.schema, schema_of::<Order<'static>>());
    assert_eq!(description.replies[0].schema, schema_of::<usize>());
    assert!(!description.may_be_unanswered && !description.answers_freely);
}
