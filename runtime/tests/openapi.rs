//! The document of a service, over real sockets.

mod support;

use expect_test::expect;
use serde::{Deserialize, Serialize};
use sha2::Digest;
use snapback::{Row, ServerReader};
use support::{Answer, Service, reader, requests, serve};

#[derive(Deserialize, Row)]
#[serde(rename_all = "camelCase")]
struct Order {
    sku: String,
    unit_price: f64,
    #[serde(default)]
    count: Option<u16>,
}

#[derive(Serialize, Deserialize)]
struct Bill {
    total: f64,
    note: Option<String>,
}

fn bills(reader: ServerReader) -> Service {
    let requests = reader.load().expect("the options are good");
    let bills = requests
        .parse_request::<Order>()
        .filter(|order| !order.sku.is_empty())
        .map(|order| Bill {
            total: order.unit_price * f64::from(order.count.unwrap_or(1)),
            note: None,
        });
    serve(bills.make_reply().describe_reply::<Bill>().write_stream())
}

/// A document without what is the same for all services.
fn own_part(document: &Answer) -> String {
    let mut document = document.json();
    document["components"]["responses"] = document["components"]["responses"]
        .as_object()
        .expect("refusals")
        .keys()
        .cloned()
        .collect();
    let method = &mut document["paths"]["/bills"]["post"]["responses"];
    for (status, reply) in method.as_object_mut().expect("replies") {
        let shared = format!("#/components/responses/{status}");
        if reply["$ref"] == shared {
            *reply = "shared".into();
        }
    }
    serde_json::to_string_pretty(&document).expect("JSON")
}

#[test]
fn a_typed_service_describes_itself() {
    let service = bills(reader("bills").option("unansweredReply", 404));
    let mut client = service.client();
    let document = client.get("/openapi.json");
    assert_eq!(
        (document.status, document.header("content-type")),
        (200, Some("application/json"))
    );
    assert_eq!(document.text(), service.openapi_json());
    expect![[r#"
        {
          "components": {
            "responses": [
              "400",
              "408",
              "413",
              "414",
              "415",
              "417",
              "431",
              "500",
              "501",
              "503",
              "504",
              "505"
            ],
            "schemas": {
              "Problem": {
                "description": "A problem document (RFC 9457).",
                "properties": {
                  "correlationId": {
                    "description": "The client's own id of the request.",
                    "type": "string"
                  },
                  "detail": {
                    "description": "What is wrong, and the way out.",
                    "type": "string"
                  },
                  "expected": {
                    "description": "What was expected of it.",
                    "type": "string"
                  },
                  "field": {
                    "description": "The field at fault.",
                    "type": "string"
                  },
                  "received": {
                    "description": "What was received.",
                    "type": "string"
                  },
                  "status": {
                    "maximum": 599,
                    "minimum": 200,
                    "type": "integer"
                  },
                  "title": {
                    "description": "The name of the status.",
                    "type": "string"
                  },
                  "type": {
                    "format": "uri-reference",
                    "type": "string"
                  }
                },
                "required": [
                  "type",
                  "title",
                  "status",
                  "detail"
                ],
                "type": "object"
              }
            }
          },
          "info": {
            "description": "Requests are answered at /bills and below it. What is refused or fails is answered with a problem document (RFC 9457).",
            "title": "bills",
            "version": "68a3811e2b45"
          },
          "openapi": "3.1.0",
          "paths": {
            "/bills": {
              "post": {
                "operationId": "post_bills",
                "requestBody": {
                  "content": {
                    "application/json": {
                      "schema": {
                        "properties": {
                          "count": {
                            "format": "uint16",
                            "maximum": 65535,
                            "minimum": 0,
                            "type": [
                              "integer",
                              "null"
                            ]
                          },
                          "sku": {
                            "type": "string"
                          },
                          "unitPrice": {
                            "format": "double",
                            "type": "number"
                          }
                        },
                        "required": [
                          "sku",
                          "unitPrice"
                        ],
                        "type": "object"
                      }
                    }
                  },
                  "required": true
                },
                "responses": {
                  "200": {
                    "content": {
                      "application/json": {
                        "schema": {
                          "properties": {
                            "note": {
                              "type": [
                                "string",
                                "null"
                              ]
                            },
                            "total": {
                              "format": "double",
                              "type": [
                                "number",
                                "null"
                              ]
                            }
                          },
                          "required": [
                            "total"
                          ],
                          "type": "object"
                        }
                      }
                    },
                    "description": "The reply of the pipeline."
                  },
                  "400": "shared",
                  "404": {
                    "description": "The pipeline has no reply to this request."
                  },
                  "408": "shared",
                  "413": "shared",
                  "414": "shared",
                  "415": "shared",
                  "417": "shared",
                  "431": "shared",
                  "500": "shared",
                  "501": "shared",
                  "503": "shared",
                  "504": "shared",
                  "505": "shared"
                }
              }
            }
          }
        }"#]].assert_eq(&own_part(&document));

    // It takes no offset, and the connection goes on.
    let bill = client.post("/bills", r#"{"sku":"hat","unitPrice":2.5,"count":2}"#);
    assert_eq!(bill.text(), r#"{"total":5.0,"note":null}"#);
    let id = bill.header("x-request-id").expect("an id");
    assert!(id.ends_with("-0"), "{id}");
}

#[test]
fn refusals_are_described_for_all() {
    let service = bills(reader("bills"));
    let document = service.client().get("/openapi.json").json();
    let shared = &document["components"]["responses"];
    let mut table = String::new();
    for (status, reply) in shared.as_object().expect("replies") {
        let schema = &reply["content"]["application/problem+json"]["schema"];
        assert_eq!(schema["$ref"], "#/components/schemas/Problem", "{status}");
        table += &format!("{status} {}\n", reply["description"]);
    }
    expect![[r#"
        400 "Bad Request. The request is malformed, or what it brings does not fit; `field`, `expected` and `received` say what, where that can be told."
        408 "Request Timeout. The request was not whole in time."
        413 "Content Too Large. The body is too large."
        414 "URI Too Long. The target is too long."
        415 "Unsupported Media Type. The body is in a content coding that is not accepted."
        417 "Expectation Failed. `Expect` asks for what cannot be met."
        431 "Request Header Fields Too Large. The head is too large."
        500 "Internal Server Error. The pipeline failed at the request."
        501 "Not Implemented. The method or the transfer coding is not served."
        503 "Service Unavailable. There is too much to do: try again later."
        504 "Gateway Timeout. The request took too long."
        505 "HTTP Version Not Supported. The version of HTTP is not served."
    "#]].assert_eq(&table);
}

#[test]
fn it_is_read_with_get_and_head_alone() {
    let service = bills(reader("bills"));
    let mut client = service.client();
    let whole = client.get("/openapi.json?x=1");
    client.send("HEAD /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n");
    let head = client.answer_to_head();
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, whole.header("content-length"))
    );
    let posted = client.post("/openapi.json", "{}");
    assert_eq!(
        (posted.status, posted.header("allow")),
        (405, Some("GET, HEAD"))
    );
    for other in ["/", "/openapi.json/", "/openapi.jsonx", "/a/openapi.json"] {
        assert_eq!(client.get(other).status, 404, "{other}");
    }
    // Below its own path everything is the pipeline's.
    assert_eq!(client.get("/bills/openapi.json").status, 400);
}

#[test]
fn it_can_be_switched_off() {
    let service = bills(reader("bills").option("openApi", "off"));
    assert_eq!(service.client().get("/openapi.json").status, 404);
    assert!(service.openapi_json().starts_with('{'));
}

#[test]
fn a_service_at_the_path_answers_itself() {
    for path in ["", "openapi.json"] {
        let lengths = requests(path).map(|request| request.body().len());
        let service = serve(lengths.make_reply().write_stream());
        assert_eq!(service.client().get("/openapi.json").text(), "0", "{path}");
    }
}

#[test]
fn a_service_with_keys_asks_for_one() {
    const TOKEN: &str = "billing-token-0123456789";
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("keys");
    let hash = sha2::Sha256::digest(TOKEN);
    let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(&file, format!("billing:sha256:{digits}\n")).expect("it is written");
    let service = bills(reader("bills").option("authKeysFile", file.display()));
    let mut client = service.client();
    let denied = client.get("/openapi.json");
    assert_eq!(denied.status, 401);
    assert!(denied.header("www-authenticate").is_some());
    client.send(format!(
        "GET /openapi.json HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
    ));
    let document = client.answer().json();
    expect![[r#"[{"bearer":[]},{"apiKey":[]}]"#]].assert_eq(&document["security"].to_string());
    expect![[r#"{"apiKey":{"in":"header","name":"x-api-key","type":"apiKey"},"bearer":{"scheme":"bearer","type":"http"}}"#]].assert_eq(&document["components"]["securitySchemes"].to_string());
    let replies = &document["paths"]["/bills"]["post"]["responses"];
    assert_eq!(replies["401"]["$ref"], "#/components/responses/401");
}

/// What pipelines answer beside their usual reply, and what they take.
#[test]
fn pipelines_say_what_they_may_answer() {
    let mut table = String::new();
    let mut add = |name: &str, service: Service| {
        let document = service.client().get("/openapi.json").json();
        let operations = document["paths"]["/api"].as_object().expect("operations");
        for (method, operation) in operations {
            let reply = &operation["responses"]["200"]["content"];
            let replies: Vec<_> = reply
                .as_object()
                .into_iter()
                .flat_map(|it| it.keys())
                .collect();
            let bodies = operation["requestBody"]["content"].as_object();
            let bodies: Vec<_> = bodies.into_iter().flat_map(|it| it.keys()).collect();
            let otherwise = ["204", "default"].map(|it| operation["responses"][it].is_object());
            table += &format!("{name} {method} {bodies:?} -> {replies:?} {otherwise:?}\n");
        }
    };
    let texts = || requests("api").map(|request| request.path().to_owned());
    add("text", serve(texts().make_reply().write_stream()));
    let filtered = texts().filter(|text| !text.is_empty());
    add("filter", serve(filtered.make_reply().write_stream()));
    let refusing = texts().try_map(|text| text.parse::<u8>().map_err(|_| (422, "no number")));
    add("try_map", serve(refusing.make_reply().write_stream()));
    let sending = texts().send_reply(|text| text.is_empty().then_some((404, "nothing")));
    add("send_reply", serve(sending.make_reply().write_stream()));
    let writing = texts().make_reply_with(|text, reply| reply.text(&text));
    add("make_reply_with", serve(writing.write_stream()));
    let bytes = texts().map(String::into_bytes).make_reply();
    add("bytes", serve(bytes.write_stream()));
    let orders = requests("api")
        .parse_request::<Order>()
        .map(|order| order.unit_price);
    add("number", serve(orders.make_reply().write_stream()));
    let nothing = texts().map(drop).make_reply();
    add("nothing", serve(nothing.write_stream()));
    expect![[r#"
        text get [] -> ["text/plain; charset=utf-8"] [false, false]
        text post ["*/*"] -> ["text/plain; charset=utf-8"] [false, false]
        filter get [] -> ["text/plain; charset=utf-8"] [true, false]
        filter post ["*/*"] -> ["text/plain; charset=utf-8"] [true, false]
        try_map get [] -> ["application/json"] [false, true]
        try_map post ["*/*"] -> ["application/json"] [false, true]
        send_reply get [] -> ["*/*", "text/plain; charset=utf-8"] [false, true]
        send_reply post ["*/*"] -> ["*/*", "text/plain; charset=utf-8"] [false, true]
        make_reply_with get [] -> ["*/*"] [false, true]
        make_reply_with post ["*/*"] -> ["*/*"] [false, true]
        bytes get [] -> ["application/octet-stream"] [false, false]
        bytes post ["*/*"] -> ["application/octet-stream"] [false, false]
        number post ["application/json"] -> ["application/json"] [false, false]
        nothing get [] -> [] [false, false]
        nothing post ["*/*"] -> [] [false, false]
    "#]]
    .assert_eq(&table);
}

/// The version is that of the contract: it changes with it, and not from run to run.
#[test]
fn the_version_is_the_contracts() {
    let version = |service: Service| {
        let document = service.client().get("/openapi.json").json();
        document["info"]["version"]
            .as_str()
            .expect("a text")
            .to_owned()
    };
    let first = version(bills(reader("bills")));
    assert_eq!(first.len(), 12);
    assert_eq!(version(bills(reader("bills"))), first);
    assert_ne!(version(bills(reader("other"))), first);
}
