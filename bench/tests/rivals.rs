//! Others' servers: each answers the workload, alone and pipelined.
#![cfg(feature = "rivals")]

use snapback_bench::rivals;

mod common;

use common::{cores, json, run};

#[test]
fn each_rival_answers_the_workload() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("compare.json").display().to_string();
    let mut arguments = vec!["compare", "--rounds=1", "--duration=20ms", "--warmup=5ms"];
    arguments.extend(["--scenarios=single,c64,pipeline16", "--json", &path]);
    let cores = cores();
    arguments.extend(cores.iter().map(String::as_str));
    let rivals: Vec<_> = rivals::names()
        .map(|name| format!("--against={name}={{self}} rival {name} --listen 127.0.0.1:{{port}}"))
        .collect();
    arguments.extend(rivals.iter().map(String::as_str));
    // It fails when any reply is not that of the workload.
    let output = run(&arguments);
    assert!(output.status.success(), "{output:?}");
    let comparison = json(path.as_ref());
    let pairs = comparison["pairs"].as_array().expect("pairs");
    for name in rivals::names() {
        let of_rival = || pairs.iter().filter(|pair| pair["server"] == name);
        assert_eq!(of_rival().count(), 3, "{name}");
        for pair in of_rival() {
            let rate = pair["other"]["throughput_per_s"].as_f64();
            assert!(rate.is_some_and(|rate| rate > 0.0), "{pair}");
        }
    }
}
