//! What the cursors of pages are signed with, so that a list begins only where a page has ended.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Bytes of a signature that are kept: 128 bits cannot be guessed, and links stay short.
const TAG: usize = 16;

/// A key that only the services on one database know. They keep it there, so that a cursor of one of them is one of all,
/// also after a restart.
#[derive(Clone)]
pub struct PageKey(Hmac<Sha256>);

impl std::fmt::Debug for PageKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("PageKey(..)")
    }
}

impl PageKey {
    /// Bytes that a key has.
    pub const BYTES: usize = 32;

    /// The key of these bytes, which must be random.
    pub fn new(bytes: &[u8; Self::BYTES]) -> Self {
        let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
        block[..Self::BYTES].copy_from_slice(bytes);
        // What is shorter than a block is filled up with zeros in any case.
        Self(<Hmac<Sha256> as hmac::digest::KeyInit>::new(&block))
    }

    /// The key of the bytes that a database has kept.
    #[cfg(any(feature = "sqlite", feature = "postgres"))]
    pub(crate) fn kept(bytes: &[u8]) -> Result<Self, NoKey> {
        bytes.try_into().map(Self::new).map_err(|_| NoKey)
    }

    /// The text of a place in a list.
    pub(crate) fn seal(&self, list: &str, place: &str) -> String {
        let tag = self.of(list, Said::Place, place.as_bytes()).finalize().into_bytes();
        URL_SAFE_NO_PAD.encode([&tag[..TAG], place.as_bytes()].concat())
    }

    /// The place that a text is of, if this key has made it for that list.
    pub(crate) fn open(&self, list: &str, text: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (tag, place) = bytes.split_at_checked(TAG)?;
        // In constant time: how much of a guess was right is not to be measured.
        self.of(list, Said::Place, place).verify_truncated_left(tag).ok()?;
        Some(place.to_vec())
    }

    /// What tells the values of a row from others, and nobody without the key what they are.
    pub(crate) fn digest(&self, list: &str, values: &str) -> String {
        let tag = self.of(list, Said::Values, values.as_bytes()).finalize().into_bytes();
        URL_SAFE_NO_PAD.encode(&tag[..TAG])
    }

    fn of(&self, list: &str, said: Said, bytes: &[u8]) -> Hmac<Sha256> {
        // Neither a stream nor a field has such characters in its name.
        self.0.clone().chain_update(list).chain_update([said as u8]).chain_update(bytes)
    }
}

/// What a database has kept is too short or too long.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
#[derive(Debug, thiserror::Error)]
#[error("what the table realtime_key holds is no key of {} bytes", PageKey::BYTES)]
pub(crate) struct NoKey;

/// What is signed, so that nothing passes for something else.
#[derive(Clone, Copy)]
enum Said {
    Place,
    Values,
}
