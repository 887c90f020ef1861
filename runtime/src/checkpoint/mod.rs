//! stub for compile
#![allow(missing_docs)]
use std::collections::BTreeMap;
use uuid::Uuid;
#[derive(Debug, thiserror::Error)]
#[error("x")]
pub struct CheckpointError;
pub(crate) struct Checkpoint;
pub(crate) struct Location;
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marks {
    pub(crate) next: u64,
    pub(crate) settled: u64,
}
pub(crate) struct Recovered {
    pub(crate) query_id: Uuid,
    pub(crate) last_epoch: Option<u64>,
    pub(crate) partitions: BTreeMap<u32, Marks>,
}
impl Recovered {
    pub(crate) fn fresh() -> Self {
        Recovered {
            query_id: Uuid::new_v4(),
            last_epoch: None,
            partitions: BTreeMap::new(),
        }
    }
}
impl Location {
    pub(crate) fn parse(_: &str) -> Result<Location, CheckpointError> {
        Ok(Location)
    }
}
impl Checkpoint {
    pub(crate) fn open(
        _: &Location,
        _: &str,
        _: usize,
    ) -> Result<(Checkpoint, Recovered), CheckpointError> {
        Ok((Checkpoint, Recovered::fresh()))
    }
    pub(crate) fn commit(
        &mut self,
        _: &str,
        _: u64,
        _: &BTreeMap<u32, Marks>,
    ) -> Result<(), CheckpointError> {
        Ok(())
    }
}
