//! What two services of a file cannot both have.

use std::fs;
use std::path::{Path, PathBuf, absolute};

use crate::definition::{Listen, Service};
use crate::file::{Located, Problem};

const CHECKPOINT: &str = "checkpointLocation";

/// A folder that a service writes to, if it has one of this kind.
type FolderOf = fn(&Service) -> Option<PathBuf>;

/// Adds what a service and one before it would both listen at, or both write.
pub(crate) fn collisions(
    service: &Located<Service>,
    earlier: &[Located<Service>],
    problems: &mut Vec<Problem>,
) {
    let first = |is_same: &dyn Fn(&Service) -> bool| {
        let mut others = earlier.iter().map(|service| &service.what);
        others.find(|other| is_same(other))
    };
    let own = &service.what;
    if let Some(other) = first(&|other| is_one_place(&own.listen, &other.listen)) {
        let place = match other.listen.host.strip_prefix("unix:") {
            Some(socket) => format!("unix:{socket}"),
            None => format!("port {}", own.listen.port),
        };
        problems.push(
            Problem::new(
                service.place("listen"),
                format!("two services listen at {place}"),
                format!("`{}` listens at {}", other.name, other.listen),
            )
            .help(match other.listen.port {
                0 => "a socket has one service, whatever its path: give each a socket of its own",
                _ => "a port has one service, whatever its path: give each a port of its own",
            }),
        );
    }
    let folders: [(&str, FolderOf, &str); 2] = [
        ("requestLog", log_of, "request log"),
        ("options", checkpoint_of, "checkpoint"),
    ];
    for (key, folder_of, what) in folders {
        let Some(folder) = folder_of(own) else {
            continue;
        };
        if let Some(other) = first(&|other| folder_of(other).as_ref() == Some(&folder)) {
            problems.push(
                Problem::new(
                    service.place(key),
                    format!("two services have one {what}"),
                    format!("the {what} of `{}` is in this folder too", other.name),
                )
                .help("each would take the files of the other for its own: give each a folder"),
            );
        }
    }
}

/// Two paths of one port are two listeners; a port of 0 is a free one each time.
fn is_one_place(one: &Listen, other: &Listen) -> bool {
    if one.host.starts_with("unix:") {
        return one.host == other.host;
    }
    let is_any = |host: &str| ["*", "0.0.0.0", "::"].contains(&host);
    let is_local = |host: &str| ["localhost", "127.0.0.1"].contains(&host);
    one.port != 0
        && one.port == other.port
        && !other.host.starts_with("unix:")
        && (one.host == other.host
            || is_any(&one.host)
            || is_any(&other.host)
            || is_local(&one.host) && is_local(&other.host))
}

fn log_of(service: &Service) -> Option<PathBuf> {
    let log = service.request_log.as_ref()?;
    Some(plain(&log.directory))
}

/// A place that is no folder, as one in an object store, is compared as it is written.
fn checkpoint_of(service: &Service) -> Option<PathBuf> {
    let mut options = service.options.iter();
    let (_, location) = options.find(|(key, _)| key.eq_ignore_ascii_case(CHECKPOINT))?;
    let path = location.strip_prefix("file://").unwrap_or(location);
    Some(match path.contains("://") {
        true => PathBuf::from(path),
        false => plain(Path::new(path)),
    })
}

/// However it is written.
fn plain(folder: &Path) -> PathBuf {
    let absolute = || absolute(folder).unwrap_or_else(|_| folder.to_owned());
    fs::canonicalize(folder).unwrap_or_else(|_| absolute())
}
