//! A glance at whether anybody may have committed, for much less than a statement costs.
//!
//! In WAL mode the file beside the database that ends in `-shm` begins with a header that every commit changes: a counter,
//! the number of frames, checksums. It is what `PRAGMA data_version` compares as well, after taking locks and setting up a
//! statement. See <https://sqlite.org/walformat.html>, "The WAL-Index Header".

use std::fs::File;

use super::Location;

/// Both copies of the header.
const HEADER: usize = 96;

/// What was seen: nothing where it could not be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen(Option<[u8; HEADER]>);

pub(super) struct Glance {
    place: Place,
    /// What was seen last.
    seen: Seen,
}

enum Place {
    /// Nobody else can commit.
    Memory,
    Header(File),
    /// There is no such file: the database cannot be in WAL mode where it is.
    Unknown,
}

impl Glance {
    /// At a database that a connection has open, which is also why the file stays.
    pub(super) fn at(location: &Location) -> Self {
        let place = match location {
            Location::Memory => Place::Memory,
            Location::File(path) => {
                let mut name = path.clone().into_os_string();
                name.push("-shm");
                File::open(name).map_or(Place::Unknown, Place::Header)
            }
        };
        Self { place, seen: Seen(None) }
    }

    /// Where somebody may have committed since, what is to be seen now.
    ///
    /// It may be read in the midst of being written. Then it is nothing that was ever seen, and differs the next time too.
    pub(super) fn changed(&self) -> Option<Seen> {
        let now = match &self.place {
            Place::Memory => return None,
            Place::Header(file) => Seen(read(file)),
            Place::Unknown => Seen(None),
        };
        (now.0.is_none() || now != self.seen).then_some(now)
    }

    /// Everything has been looked at that had been committed when that was to be seen.
    pub(super) fn has_seen(&mut self, seen: Seen) {
        self.seen = seen;
    }
}

#[cfg(unix)]
fn read(file: &File) -> Option<[u8; HEADER]> {
    use std::os::unix::fs::FileExt as _;
    let mut header = [0; HEADER];
    file.read_exact_at(&mut header, 0).ok()?;
    Some(header)
}

#[cfg(not(unix))]
fn read(_file: &File) -> Option<[u8; HEADER]> {
    None
}
