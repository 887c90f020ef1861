//! What a column pipeline allocates for a request, on its partition's thread: a stated number, which
//! the size of the request does not change.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use snapback_sql::Result;
use snapback_sql::prelude::*;
use support::{Service, post, requests, serve};

/// Counts what partitions allocate while [`COUNTING`] is set, and leaves the work to the system.
struct CountingAllocator;

static COUNTING: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

thread_local! {
    /// Whether the thread is a partition's: `None` until that was found out.
    static IS_PARTITION: Cell<Option<bool>> = const { Cell::new(None) };
}

fn count() {
    if !COUNTING.load(Ordering::Relaxed) {
        return;
    }
    let is_partition = IS_PARTITION.try_with(|known| {
        known.get().unwrap_or_else(|| {
            // What finding out allocates itself is not counted.
            known.set(Some(false));
            let is_partition = std::thread::current().name() == Some("snapback-0");
            known.set(Some(is_partition));
            is_partition
        })
    });
    if is_partition == Ok(true) {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: each method hands its arguments unchanged to the system's allocator, whose contract is
// the same, and returns what that returns; counting neither unwinds nor touches the memory.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps the contract of `realloc`.
        unsafe { System.realloc(block, layout, new_size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

fn service(schema: &str, query: &str) -> Result<Service> {
    let replies = requests("api")
        .columns()
        .parse_request(schema)?
        .sql(query)?
        .make_reply_of_all()?;
    Ok(serve(replies.write_stream()))
}

/// Allocations for each of many requests, which come alone.
fn per_request(service: &Service, body: &str) -> f64 {
    const REQUESTS: u32 = 2_000;
    let mut client = service.client();
    let mut ask = |requests| {
        for _ in 0..requests {
            client.send(post("/api", body));
            assert_eq!(client.answer().status, 200);
        }
    };
    ask(500);
    ALLOCATIONS.store(0, Ordering::Relaxed);
    COUNTING.store(true, Ordering::Relaxed);
    ask(REQUESTS);
    COUNTING.store(false, Ordering::Relaxed);
    ALLOCATIONS.load(Ordering::Relaxed) as f64 / f64::from(REQUESTS)
}

/// One test, for it counts what its whole process does.
#[test]
fn a_request_costs_a_stated_number_of_allocations() -> Result<()> {
    let hello = service(
        "foo STRING, bar INT",
        "SELECT character_length(foo) AS fooLength FROM requests",
    )?;
    let short = per_request(&hello, r#"{"foo":"hello","bar":1}"#);
    let long = format!(r#"{{"foo":"{}","bar":1}}"#, "x".repeat(10_000));
    let long = per_request(&hello, &long);
    println!("hello world: {short} allocations, with a body of 10 kB {long}");
    assert!(short <= 20.0, "{short}");
    assert!(long <= short + 1.0, "{long} after {short}");

    let wide = service(
        "a INT, b INT, c INT, d STRING",
        "SELECT a + b AS sum, c * 2 AS twice, upper(d) AS upper FROM requests WHERE a > 0",
    )?;
    let wide = per_request(&wide, r#"{"a":1,"b":2,"c":3,"d":"x"}"#);
    println!("four columns in, a filter, three out: {wide} allocations");
    assert!(wide <= 100.0, "{wide}");
    Ok(())
}
