//! One page of an answer, or one frame of merged entries: as much as fits.

use chatlane_protocol::limits::{HTTPS_PAGE_BYTES_MAX, PAGE_BYTES_MAX};

use crate::requests::caller::Caller;

/// How many bytes a page still takes. A page that has taken nothing takes one part whatever its size, so that nothing is stuck.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page {
    room: usize,
    is_empty: bool,
}

impl Page {
    /// An empty page, of which `rest` bytes are not for its parts.
    pub(crate) const fn new(rest: usize) -> Self {
        Self { room: PAGE_BYTES_MAX.saturating_sub(rest), is_empty: true }
    }

    /// The same of what this caller is answered: HTTPS has more room than a socket's frame.
    pub(crate) const fn of(caller: &Caller, rest: usize) -> Self {
        let bytes = if caller.connection.is_some() { PAGE_BYTES_MAX } else { HTTPS_PAGE_BYTES_MAX };
        Self { room: bytes.saturating_sub(rest), is_empty: true }
    }

    /// What is left.
    pub(crate) const fn room(&self) -> usize {
        self.room
    }

    /// Gives so many bytes to what belongs to the parts but is none of them.
    pub(crate) const fn reserve(&mut self, bytes: usize) {
        self.room = self.room.saturating_sub(bytes);
    }

    /// Takes a part of so many bytes, with the comma behind it, if it fits or is the first.
    #[must_use]
    pub(crate) const fn take(&mut self, bytes: usize) -> bool {
        if bytes > self.room && !self.is_empty {
            return false;
        }
        self.is_empty = false;
        self.room = self.room.saturating_sub(bytes);
        true
    }

    /// From now on nothing is taken that does not fit.
    pub(crate) const fn is_begun(&mut self) {
        self.is_empty = false;
    }

    /// Takes a part only if it fits.
    #[must_use]
    pub(crate) const fn take_if_it_fits(&mut self, bytes: usize) -> bool {
        let fits = bytes <= self.room;
        if fits {
            self.room -= bytes;
        }
        fits
    }
}
