//! The wire format of Protocol Buffers, as far as a SentencePiece model needs it: fields with their numbers, nothing of schemas.

use anyhow::{Context as _, Result, bail};

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed32(u32),
    Fixed64,
    /// Bytes, a text or a message.
    Bytes(&'a [u8]),
}

impl<'a> Wire<'a> {
    pub(super) fn bytes(self) -> Result<&'a [u8]> {
        if let Wire::Bytes(bytes) = self { Ok(bytes) } else { bail!("a field has another type than it should") }
    }

    pub(super) fn text(self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()?).context("a text is not UTF-8")
    }

    pub(super) fn number(self) -> Result<u64> {
        if let Wire::Varint(number) = self { Ok(number) } else { bail!("a field has another type than it should") }
    }

    pub(super) fn float(self) -> Result<f32> {
        if let Wire::Fixed32(bits) = self { Ok(f32::from_bits(bits)) } else { bail!("a field has another type than it should") }
    }
}

/// The fields of a message in the order they are written, each with its number.
pub(super) struct Fields<'a> {
    whole: &'a [u8],
    position: usize,
}

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Fields<'a> {
        Fields { whole: message, position: 0 }
    }

    fn take(&mut self, bytes: u64) -> Result<&'a [u8]> {
        let rest = &self.whole[self.position..];
        let taken = usize::try_from(bytes).ok().and_then(|bytes| rest.get(..bytes));
        let taken = taken.with_context(|| {
            format!("it is cut off: {bytes} bytes should follow byte {} of a message, {} do", self.position, rest.len())
        })?;
        self.position += taken.len();
        Ok(taken)
    }

    /// Seven bits a byte, the lowest first.
    fn varint(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        bail!("a number at byte {} of a message is too long", self.position)
    }

    fn field(&mut self) -> Result<(u64, Wire<'a>)> {
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => self.take(8).map(|_| Wire::Fixed64)?,
            2 => {
                let bytes = self.varint()?;
                Wire::Bytes(self.take(bytes)?)
            }
            5 => Wire::Fixed32(u32::from_le_bytes(self.take(4)?.try_into().context("four bytes were taken")?)),
            kind => bail!("byte {} of a message begins a field of the unknown type {kind}", self.position),
        };
        Ok((tag >> 3, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Wire<'a>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.whole.len() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.position = self.whole.len();
        }
        Some(field)
    }
}
