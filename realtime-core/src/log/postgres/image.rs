//! A row's image as `record_send` writes it: the number of values; for each its type, its length, its bytes.

use std::num::NonZeroU32;

use diesel::pg::{Pg, PgValue};

use crate::resource::Columns;

/// The values of an image, by their place in the layout.
#[derive(Debug)]
pub struct Image<'a>(Vec<(NonZeroU32, Option<&'a [u8]>)>);

/// The bytes are no image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no image")]
pub struct MalformedImage;

impl<'a> Image<'a> {
    /// Finds the values in the bytes.
    ///
    /// # Errors
    /// Where the bytes are not what `record_send` writes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, MalformedImage> {
        let (count, mut rest) = bytes.split_first_chunk().ok_or(MalformedImage)?;
        let count = usize::try_from(i32::from_be_bytes(*count)).map_err(|_| MalformedImage)?;
        // Each value has at least a type and a length, so the bytes bound what is reserved.
        let mut values = Vec::with_capacity(count.min(bytes.len() / 8));
        for _ in 0..count {
            let (oid, after) = rest.split_first_chunk().ok_or(MalformedImage)?;
            let oid = NonZeroU32::new(u32::from_be_bytes(*oid)).ok_or(MalformedImage)?;
            let (length, after) = after.split_first_chunk().ok_or(MalformedImage)?;
            let (value, after) = match i32::from_be_bytes(*length) {
                -1 => (None, after),
                length => {
                    let length = usize::try_from(length).map_err(|_| MalformedImage)?;
                    let (value, after) = after.split_at_checked(length).ok_or(MalformedImage)?;
                    (Some(value), after)
                }
            };
            values.push((oid, value));
            rest = after;
        }
        if rest.is_empty() { Ok(Self(values)) } else { Err(MalformedImage) }
    }
}

impl Columns<Pg> for Image<'_> {
    fn visit(&self, column: usize, visit: &mut dyn FnMut(Option<PgValue<'_>>)) {
        if let Some((oid, bytes)) = self.0.get(column) {
            visit(bytes.map(|bytes| PgValue::new(bytes, oid)));
        }
    }
}

#[cfg(test)]
mod tests {
    use diesel::sql_types::{Integer, Nullable, Text};

    use super::*;
    use crate::__private::read;

    /// `record_send(ROW(1, NULL::int, 'é'))`.
    const BYTES: &[u8] =
        b"\0\0\0\x03\0\0\0\x17\0\0\0\x04\0\0\0\x01\0\0\0\x17\xff\xff\xff\xff\0\0\0\x19\0\0\0\x02\xc3\xa9";

    #[test]
    fn an_image_holds_what_a_select_sends() {
        let image = Image::parse(BYTES).expect("an image");
        assert_eq!(read::<i32, Integer, Pg>(&image, 0).expect("a number"), 1);
        assert_eq!(read::<Option<i32>, Nullable<Integer>, Pg>(&image, 1).expect("null"), None);
        assert_eq!(read::<String, Text, Pg>(&image, 2).expect("a text"), "é");
        assert!(read::<String, Text, Pg>(&image, 3).is_err());
        assert!(read::<i32, Integer, Pg>(&image, 2).is_err());
    }

    #[test]
    fn bytes_that_are_cut_or_have_more_are_refused() {
        for end in 0..BYTES.len() {
            assert_eq!(Image::parse(&BYTES[..end]).err(), Some(MalformedImage), "{end}");
        }
        let longer = [BYTES, b"x"].concat();
        assert!(Image::parse(&longer).is_err());
        assert!(Image::parse(b"\x7f\xff\xff\xff").is_err());
        assert!(Image::parse(b"\xff\xff\xff\xff").is_err());
    }
}
