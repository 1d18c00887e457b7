//! Token columns: 16 bits wide where the vocabulary allows it, 32 otherwise.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, UInt16Array, UInt32Array};
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
