//! A model of a disk that can lose power, with the freedoms that `layout.rs` lists: what was not
//! synced may be there, be missing, be torn or be zeros, each name on its own.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;

use crate::checkpoint::store::Store;

/// How many ways there are in which the bytes of an unsynced file may survive.
const TEARS: usize = 5;

/// Shares its disk with its clones, so that a test looks at it while a log writes.
#[derive(Clone, Debug)]
pub(super) struct CrashStore {
    disk: Rc<RefCell<Disk>>,
    /// The disk after every step, for the tests that crash there.
    history: Rc<RefCell<Vec<Disk>>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Disk {
    nodes: Vec<Node>,
    /// The names that a process sees.
    seen: BTreeMap<String, usize>,
    /// The names that survive a power loss for sure.
    durable: BTreeMap<String, usize>,
    /// Changes of names since the last sync of their directories, in order.
    pending: Vec<Change>,
    /// How many steps were taken.
    steps: u64,
    /// The steps that fail, as if the disk were full.
    failing: Range<u64>,
}

#[derive(Clone, Debug)]
enum Node {
    Directory,
    File { bytes: Vec<u8>, synced: bool },
}

#[derive(Clone, Debug)]
enum Change {
    Link(String, usize),
    Rename(String, String, usize),
    Unlink(String),
}

impl CrashStore {
    pub(super) fn new(disk: Disk) -> CrashStore {
        CrashStore {
            disk: Rc::new(RefCell::new(disk)),
            history: Rc::default(),
        }
    }

    pub(super) fn disk(&self) -> Disk {
        self.disk.borrow().clone()
    }

    /// The disk after every step since the last call.
    pub(super) fn take_history(&self) -> Vec<Disk> {
        self.history.take()
    }

    /// Lets `count` steps fail, after the next `after` ones.
    pub(super) fn fail(&self, after: u64, count: u64) {
        let mut disk = self.disk.borrow_mut();
        let first = disk.steps + after;
        disk.failing = first..first + count;
    }

    pub(super) fn steps(&self) -> u64 {
        self.disk.borrow().steps
    }

    fn step<T>(&mut self, take: impl FnOnce(&mut Disk, bool) -> io::Result<T>) -> io::Result<T> {
        let mut disk = self.disk.borrow_mut();
        let fails = disk.failing.contains(&disk.steps);
        disk.steps += 1;
        let result = take(&mut disk, fails);
        self.history.borrow_mut().push(disk.clone());
        match result {
            Ok(_) if fails => Err(io::ErrorKind::StorageFull.into()),
            result => result,
        }
    }
}

impl Disk {
    /// Every disk that a power loss at this moment can leave.
    pub(super) fn crash_images(&self) -> Vec<Disk> {
        let changes = self.pending.len();
        assert!(changes <= 10, "too many images: {:?}", self.pending);
        let masks = 0..1u64 << changes;
        masks
            .flat_map(|mask| (0..TEARS).map(move |tear| (mask, tear)))
            .filter(|&(mask, tear)| tear == 0 || self.has_unsynced(mask))
            .map(|(mask, tear)| self.crash_image(mask, tear))
            .collect()
    }

    /// The disk after a power loss of which the pending changes in `mask` survive.
    pub(super) fn crash_image(&self, mask: u64, tear: usize) -> Disk {
        let names = self.surviving(mask);
        let mut nodes = self.nodes.clone();
        for node in &mut nodes {
            if let Node::File { bytes, synced } = node
                && !*synced
            {
                let half = bytes.len() / 2;
                match tear % TEARS {
                    0 => {}
                    1 => bytes.clear(),
                    2 => bytes.truncate(half),
                    3 => bytes.fill(0),
                    _ => bytes[half..].fill(0),
                }
                *synced = true;
            }
        }
        Disk {
            nodes,
            seen: names.clone(),
            durable: names,
            ..Disk::default()
        }
    }

    /// The disk as the next process finds it when this one was killed: all that was done is seen,
    /// and what was not synced can still be lost.
    pub(super) fn killed(&self) -> Disk {
        Disk {
            failing: 0..0,
            ..self.clone()
        }
    }

    fn has_unsynced(&self, mask: u64) -> bool {
        let names = self.surviving(mask);
        let unsynced = |node: &Node| matches!(node, Node::File { synced: false, .. });
        names.values().any(|&node| unsynced(&self.nodes[node]))
    }

    fn surviving(&self, mask: u64) -> BTreeMap<String, usize> {
        let mut names = self.durable.clone();
        for (index, change) in self.pending.iter().enumerate() {
            if index >= 64 || mask >> index & 1 == 1 {
                change.apply(&mut names);
            }
        }
        let all = names.clone();
        names.retain(|name, _| dir_of(name).is_empty() || all.contains_key(dir_of(name)));
        names
    }

    /// What a file holds, to be changed at will.
    pub(super) fn bytes(&mut self, name: &str) -> &mut Vec<u8> {
        match &mut self.nodes[self.seen[name]] {
            Node::File { bytes, .. } => bytes,
            Node::Directory => panic!("{name} is a directory"),
        }
    }

    /// Takes a file, or a directory with all its files, off the medium.
    pub(super) fn lose(&mut self, name: &str) {
        let is_lost = |other: &String| other == name || dir_of(other) == name;
        self.seen.retain(|other, _| !is_lost(other));
        self.durable.retain(|other, _| !is_lost(other));
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.seen);
        self.pending.push(change);
    }
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Change::Link(name, node) => {
                names.insert(name.clone(), *node);
            }
            Change::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
            Change::Unlink(name) => {
                names.remove(name);
            }
        }
    }

    fn dir(&self) -> &str {
        match self {
            Change::Link(name, _) | Change::Rename(name, _, _) | Change::Unlink(name) => {
                dir_of(name)
            }
        }
    }
}

impl Store for CrashStore {
    type File = usize;

    fn create_dir(&mut self, name: &str) -> io::Result<()> {
        self.step(|disk, fails| {
            if !fails && !disk.seen.contains_key(name) {
                disk.nodes.push(Node::Directory);
                disk.change(Change::Link(name.to_owned(), disk.nodes.len() - 1));
            }
            Ok(())
        })
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        let disk = self.disk.borrow();
        if !dir.is_empty() && !disk.seen.contains_key(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = disk.seen.keys().filter(|name| dir_of(name) == dir);
        let name = |path: &String| path.rsplit('/').next().unwrap().to_owned();
        Ok(inside.map(name).collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let disk = self.disk.borrow();
        match disk.seen.get(name).map(|&node| &disk.nodes[node]) {
            Some(Node::File { bytes, .. }) => Ok(bytes.clone()),
            Some(Node::Directory) => Err(io::ErrorKind::IsADirectory.into()),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// When the disk is full, the first half of the bytes is there.
    fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<usize> {
        self.step(|disk, fails| {
            if !disk.seen.contains_key(dir_of(name)) && !dir_of(name).is_empty() {
                return Err(io::ErrorKind::NotFound.into());
            }
            let length = if fails { bytes.len() / 2 } else { bytes.len() };
            disk.nodes.push(Node::File {
                bytes: bytes[..length].to_vec(),
                synced: false,
            });
            let node = disk.nodes.len() - 1;
            disk.change(Change::Link(name.to_owned(), node));
            Ok(node)
        })
    }

    fn sync(&mut self, file: usize) -> io::Result<()> {
        self.step(|disk, fails| {
            if let Node::File { synced, .. } = &mut disk.nodes[file] {
                *synced |= !fails;
            }
            Ok(())
        })
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        assert_eq!(dir_of(from), dir_of(to), "atomic only within a directory");
        self.step(|disk, fails| {
            let Some(&node) = disk.seen.get(from) else {
                return Err(io::ErrorKind::NotFound.into());
            };
            if !fails {
                disk.change(Change::Rename(from.to_owned(), to.to_owned(), node));
            }
            Ok(())
        })
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.step(|disk, fails| {
            if !disk.seen.contains_key(name) {
                return Err(io::ErrorKind::NotFound.into());
            }
            if !fails {
                disk.change(Change::Unlink(name.to_owned()));
            }
            Ok(())
        })
    }

    fn sync_dir(&mut self, dir: &str) -> io::Result<()> {
        self.step(|disk, fails| {
            if fails {
                return Ok(());
            }
            let (synced, pending) = std::mem::take(&mut disk.pending)
                .into_iter()
                .partition(|change| change.dir() == dir);
            disk.pending = pending;
            let synced: Vec<Change> = synced;
            for change in synced {
                change.apply(&mut disk.durable);
            }
            Ok(())
        })
    }

    fn locate(&self, name: &str) -> PathBuf {
        PathBuf::from("/model").join(name)
    }
}

fn dir_of(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(dir, _)| dir)
}

#[test]
fn the_model_loses_what_was_not_synced() {
    let mut store = CrashStore::new(Disk::default());
    let file = store.write("a", b"1234").unwrap();
    // The name may be lost or there, and if so its bytes in any of the five ways.
    assert_eq!(store.disk().crash_images().len(), 1 + TEARS);
    store.sync(file).unwrap();
    assert_eq!(store.disk().crash_images().len(), 2);
    store.rename("a", "b").unwrap();
    let names = |disk: &Disk| disk.seen.keys().cloned().collect::<Vec<_>>().join(" ");
    let images: Vec<_> = store.disk().crash_images().iter().map(names).collect();
    assert_eq!(images, ["", "a", "b", "b"]);
    store.sync_dir("").unwrap();
    let images: Vec<_> = store.disk().crash_images().iter().map(names).collect();
    assert_eq!(images, ["b"]);
}
