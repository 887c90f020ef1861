//! The directory of a sink: durable steps, each of which a crash may follow.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use datafusion::arrow::datatypes::Schema;
use serde_json::{Value, json};

use super::super::{Opening, SinkError};
use super::format::FileFormat;
use super::segment::{DataFile, Segment};
use crate::durable::{self, named, write_durably};

const VERSION: u64 = 1;

pub(super) struct Directory {
    path: PathBuf,
    extension: &'static str,
}

impl Directory {
    /// Opens the directory, or creates it with its parents.
    pub(super) fn open(path: &Path, extension: &'static str) -> Result<Self, SinkError> {
        if path.exists() && !path.is_dir() {
            return Err(format!(
                "`{}` is a file: a sink of files needs a directory of its own",
                path.display()
            )
            .into());
        }
        durable::create_dir_all(path)?;
        if let Some(parent) = path.parent() {
            // A parent that may not be opened does not keep the sink from working.
            let _ = durable::sync_dir(parent);
        }
        Ok(Directory {
            path: path.to_owned(),
            extension,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the directory the query's own, or sees that it is.
    pub(super) fn claim(
        &mut self,
        opening: &Opening,
        format: FileFormat,
        schema: &Schema,
    ) -> Result<(), SinkError> {
        let columns: Vec<Value> = schema
            .fields()
            .iter()
            .map(|field| {
                json!([
                    field.name(),
                    field.data_type().to_string(),
                    field.is_nullable()
                ])
            })
            .collect();
        let own = json!({
            "version": VERSION,
            "query": opening.query,
            "queryId": opening.query_id,
            "format": format.to_string(),
            "columns": columns,
        });
        let place = self.path.join("_snapback");
        let file = place.join("metadata");
        let text = match fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                durable::create_dir(&place)?;
                write_durably(&place, "metadata", |file| {
                    Ok(file.write_all(own.to_string().as_bytes())?)
                })?;
                return durable::sync_dir(&self.path);
            }
            Err(error) => return Err(named("read", &file)(error)),
        };
        let found: Value = serde_json::from_slice(&text).map_err(|error| {
            format!(
                "`{}` is damaged ({error}): give the sink another directory",
                file.display()
            )
        })?;
        self.compare(&found, &own)
    }

    fn compare(&self, found: &Value, own: &Value) -> Result<(), SinkError> {
        let path = self.path.display();
        if found["version"].as_u64() > Some(VERSION) {
            return Err(format!(
                "`{path}` was written by a newer Snapback (version {} of its layout, this one knows \
                 {VERSION}): upgrade, or give the sink another directory",
                found["version"]
            )
            .into());
        }
        if found["queryId"] != own["queryId"] {
            let told = |id: &Value| match id {
                Value::String(id) => format!("of the query with the id {id}"),
                _ => "of queries without a checkpoint".to_owned(),
            };
            return Err(format!(
                "`{path}` has rows {}, and these are {}: give the sink another directory, or the \
                 query the checkpoint that it had",
                told(&found["queryId"]),
                told(&own["queryId"])
            )
            .into());
        }
        for what in ["format", "columns"] {
            if found[what] != own[what] {
                return Err(format!(
                    "`{path}` has files whose {what} differ: {} there, {} now; give the sink another \
                     directory",
                    found[what], own[what]
                )
                .into());
            }
        }
        Ok(())
    }

    /// The segments with their files, oldest first. What a run that died left half done is cleared
    /// away, where nobody else can be at work: it was never to be seen, or is not any more.
    pub(super) fn segments(&self, is_alone: bool) -> Result<Vec<Segment>, SinkError> {
        let mut segments = Vec::new();
        for name in durable::names(&self.path)? {
            if is_alone && name.starts_with(".segment-") {
                self.remove_hidden(&name)?;
            }
            let Some(mut segment) = Segment::parse(&name) else {
                continue;
            };
            let directory = self.path.join(&name);
            for name in durable::names(&directory)? {
                let path = directory.join(&name);
                if name.starts_with('.') {
                    if is_alone {
                        durable::remove_file(&path)?;
                    }
                } else if let Some(epoch) = DataFile::epoch_in(&name, self.extension) {
                    let metadata = fs::metadata(&path).map_err(named("look at", &path))?;
                    let bytes = metadata.len();
                    segment.files.push(DataFile { epoch, name, bytes });
                }
            }
            segment
                .files
                .sort_by(|one, other| one.name.cmp(&other.name));
            segments.push(segment);
        }
        segments.sort_by_key(Segment::name);
        Ok(segments)
    }

    /// Removes the files of epochs behind this one; how many that were.
    pub(super) fn take_back(
        &self,
        segments: &mut Vec<Segment>,
        committed: Option<u64>,
    ) -> Result<usize, SinkError> {
        let mut removed = 0;
        for segment in segments.iter_mut() {
            let directory = self.path.join(segment.name());
            let (kept, newer): (Vec<_>, Vec<_>) = std::mem::take(&mut segment.files)
                .into_iter()
                .partition(|file| Some(file.epoch) <= committed);
            for file in &newer {
                let path = directory.join(&file.name);
                durable::remove_file(&path)?;
            }
            if !newer.is_empty() {
                durable::sync_dir(&directory)?;
            }
            removed += newer.len();
            segment.files = kept;
            if segment.files.is_empty() {
                durable::remove_dir(&directory)?;
            }
        }
        segments.retain(|segment| !segment.files.is_empty());
        durable::sync_dir(&self.path)?;
        Ok(removed)
    }

    /// Creates the directory of a segment.
    pub(super) fn create(&self, segment: &Segment) -> Result<(), SinkError> {
        durable::create_dir(&self.path.join(segment.name()))?;
        durable::sync_dir(&self.path)
    }

    /// Adds a file to a segment; its length.
    pub(super) fn write(
        &self,
        segment: &Segment,
        name: &str,
        write: impl FnOnce(&mut File) -> Result<(), SinkError>,
    ) -> Result<u64, SinkError> {
        write_durably(&self.path.join(segment.name()), name, write)
    }

    /// Where the files of a segment are.
    pub(super) fn paths(&self, segment: &Segment) -> Vec<PathBuf> {
        let directory = self.path.join(segment.name());
        let files = segment.files.iter();
        files.map(|file| directory.join(&file.name)).collect()
    }

    /// Puts one file in the place of all files of a segment, in one step; its length. None where the file
    /// system cannot do that, and nothing has changed.
    pub(super) fn exchange(
        &self,
        segment: &Segment,
        name: &str,
        write: impl FnOnce(&mut File) -> Result<(), SinkError>,
    ) -> Result<Option<u64>, SinkError> {
        let hidden_name = format!(".{}.merged", segment.name());
        let (hidden, visible) = (self.path.join(&hidden_name), self.path.join(segment.name()));
        self.remove_hidden(&hidden_name)?;
        durable::create_dir(&hidden)?;
        let bytes = write_durably(&hidden, name, write).inspect_err(|_| {
            // What stays is cleared away when the sink is opened next.
            let _ = durable::remove_dir_all(&hidden);
        })?;
        durable::sync_dir(&self.path)?;
        if !durable::exchange(&hidden, &visible)? {
            self.remove_hidden(&hidden_name)?;
            return Ok(None);
        }
        self.clear_away(&hidden_name);
        Ok(Some(bytes))
    }

    /// Removes a segment, for readers in one step.
    pub(super) fn remove(&self, segment: &Segment) -> Result<(), SinkError> {
        let (name, hidden) = (segment.name(), format!(".{}.removed", segment.name()));
        let path = self.path.join(&name);
        durable::rename(&path, &self.path.join(&hidden))?;
        self.clear_away(&hidden);
        Ok(())
    }

    /// Removes what readers do not see any more, when that is durable. What stays goes when the sink is
    /// opened next.
    fn clear_away(&self, hidden: &str) {
        let cleared = durable::sync_dir(&self.path).and_then(|()| self.remove_hidden(hidden));
        if let Err(error) = cleared {
            tracing::warn!(%error, "old files stay until the sink is opened again");
        }
    }

    /// Removes one file of a segment.
    pub(super) fn remove_file(&self, segment: &Segment, name: &str) -> Result<(), SinkError> {
        let path = self.path.join(segment.name()).join(name);
        durable::remove_file(&path)
    }

    fn remove_hidden(&self, name: &str) -> Result<(), SinkError> {
        durable::remove_dir_all(&self.path.join(name))
    }
}
