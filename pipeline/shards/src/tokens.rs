//! Token columns: 16 bits wide where the vocabulary allows it, 32 otherwise.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt16Array, UInt32Array};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, UInt16Type, UInt32Type};

/// How wide a token is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    U16,
    U32,
}

impl Width {
    pub(crate) const ALL: [Width; 2] = [Width::U16, Width::U32];

    /// The narrowest width for ids below `vocabulary_size`.
    pub fn for_vocabulary(vocabulary_size: usize) -> Width {
        if vocabulary_size <= 1 << 16 { Width::U16 } else { Width::U32 }
    }

    /// The name in facts: `u16` or `u32`.
    pub fn name(self) -> &'static str {
        match self {
            Width::U16 => "u16",
            Width::U32 => "u32",
        }
    }

    pub(crate) fn data_type(self) -> DataType {
        match self {
            Width::U16 => DataType::UInt16,
            Width::U32 => DataType::UInt32,
        }
    }

    /// Bytes of a token.
    pub fn bytes(self) -> usize {
        match self {
            Width::U16 => 2,
            Width::U32 => 4,
        }
    }

    /// Ids in this width, little endian.
    ///
    /// # Panics
    /// If an id does not fit: the width was chosen for another vocabulary.
    pub fn append_bytes(self, ids: &[u32], out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + ids.len() * self.bytes(), 0);
        match self {
            Width::U16 => {
                let most = ids.iter().copied().max().unwrap_or(0);
                assert!(most <= u16::MAX.into(), "the width was chosen by the size of the vocabulary, which has no id {most}");
                let places = out[start..].as_chunks_mut::<2>().0;
                places.iter_mut().zip(ids).for_each(|(place, id)| *place = (*id as u16).to_le_bytes());
            }
            Width::U32 => {
                let places = out[start..].as_chunks_mut::<4>().0;
                places.iter_mut().zip(ids).for_each(|(place, id)| *place = id.to_le_bytes());
            }
        }
    }

    /// The last of the tokens that [`Width::append_bytes`] wrote; `None` of none.
    pub fn last(self, bytes: &[u8]) -> Option<u32> {
        match self {
            Width::U16 => bytes.last_chunk().map(|bytes| u16::from_le_bytes(*bytes).into()),
            Width::U32 => bytes.last_chunk().map(|bytes| u32::from_le_bytes(*bytes)),
        }
    }

    /// Ids as an Arrow array.
    ///
    /// # Panics
    /// If an id does not fit: the width was chosen for another vocabulary.
    pub(crate) fn array(self, ids: Vec<u32>) -> ArrayRef {
        match self {
            Width::U16 => {
                let narrow = |id| u16::try_from(id).expect("the width was chosen by the size of the vocabulary");
                Arc::new(UInt16Array::from_iter_values(ids.into_iter().map(narrow)))
            }
            Width::U32 => Arc::new(UInt32Array::from(ids)),
        }
    }

    /// Bytes of ids, as [`Width::append_bytes`] makes them, as an Arrow array.
    pub(crate) fn array_of_bytes(self, bytes: Buffer) -> ArrayRef {
        match self {
            Width::U16 => Arc::new(UInt16Array::new(bytes.into(), None)),
            Width::U32 => Arc::new(UInt32Array::new(bytes.into(), None)),
        }
    }
}

/// The field inside of list columns of tokens.
pub fn tokens_type(width: Width) -> Arc<Field> {
    Arc::new(Field::new_list_field(width.data_type(), false))
}

/// Appends the ids of a token array from `start`, `length` of them.
pub(crate) fn append(array: &dyn Array, start: usize, length: usize, out: &mut Vec<i64>) {
    if let Some(narrow) = array.as_primitive_opt::<UInt16Type>() {
        out.extend(narrow.values()[start..start + length].iter().map(|id| i64::from(*id)));
    } else {
        out.extend(array.as_primitive::<UInt32Type>().values()[start..start + length].iter().map(|id| i64::from(*id)));
    }
}
