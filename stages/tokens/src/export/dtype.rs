//! Integer types of token ids in files of other programs, little-endian.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The type of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    Uint8,
    Int8,
    Uint16,
    Int16,
    Uint32,
    Int32,
    Uint64,
    Int64,
}

impl Dtype {
    pub(crate) const ALL: [Dtype; 8] =
        [Dtype::Uint8, Dtype::Int8, Dtype::Uint16, Dtype::Int16, Dtype::Uint32, Dtype::Int32, Dtype::Uint64, Dtype::Int64];

    /// NumPy's name.
    pub(crate) fn name(self) -> &'static str {
        ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"][self as usize]
    }

    pub(crate) fn parse(name: &str) -> Option<Dtype> {
        Dtype::ALL.into_iter().find(|dtype| dtype.name() == name)
    }

    /// Bytes of one id.
    pub(crate) fn size(self) -> usize {
        1 << (self as usize / 2)
    }

    /// The narrowest unsigned type for a vocabulary, as our own shards have it.
    pub(crate) fn unsigned_for(vocabulary_size: usize) -> Dtype {
        if vocabulary_size <= 1 << 16 { Dtype::Uint16 } else { Dtype::Uint32 }
    }

    /// Appends the ids' bytes. The ids must fit.
    pub(crate) fn encode(self, ids: &[i64], out: &mut Vec<u8>) {
        out.extend(ids.iter().flat_map(|id| id.to_le_bytes().into_iter().take(self.size())));
    }

    /// Appends the ids in `bytes`, whose number is a multiple of the size. An id of uint64 beyond int64 becomes negative, so it is no id either.
    pub(crate) fn decode(self, bytes: &[u8], out: &mut Vec<i64>) {
        let shift = 64 - 8 * self.size() as u32;
        let signed = self as usize % 2 == 1;
        out.extend(bytes.chunks_exact(self.size()).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            let value = i64::from_le_bytes(word);
            if signed { (value << shift) >> shift } else { value }
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_back_from_every_type_and_negative_ones_stay_negative() {
        for dtype in Dtype::ALL {
            let (mut bytes, mut found) = (Vec::new(), Vec::new());
            dtype.encode(&[0, 1, 100], &mut bytes);
            dtype.decode(&bytes, &mut found);
            assert_eq!((bytes.len(), found.as_slice()), (3 * dtype.size(), [0, 1, 100].as_slice()));
            assert_eq!(Dtype::parse(dtype.name()), Some(dtype));
            found.clear();
            dtype.decode(&vec![0xff; dtype.size()], &mut found);
            assert!(found[0] == -1 || !dtype.name().starts_with("int"), "{}", dtype.name());
        }
    }
}
