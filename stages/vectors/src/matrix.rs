//! Weights that all threads read and write without locks (Hogwild, Niu et al. 2011), and their form on disk.

use std::cell::UnsafeCell;
use std::io::{Read, Write};

use anyhow::Result;

use crate::kernel::{Lanes, Row, WIDTH, groups};
use crate::random::Random;

/// Rows of equal length, each beginning at a cache line and padded with zeros.
pub(crate) struct Matrix {
    rows: usize,
    /// Groups of a row.
    stride: usize,
    cells: Vec<UnsafeCell<Lanes>>,
}

// SAFETY: threads race for rows on purpose. Numbers are read and written as whole aligned groups through raw pointers, no reference to them
// is made while threads run, and any mixture of old and new numbers is a valid state of the weights.
unsafe impl Sync for Matrix {}

impl Matrix {
    /// Rows of `stride` groups, all zero.
    pub(crate) fn zeros(rows: usize, stride: usize) -> Matrix {
        Matrix { rows, stride, cells: (0..rows * stride).map(|_| UnsafeCell::new(Lanes::ZERO)).collect() }
    }

    /// Rows of `size` numbers, uniform between -0.5 / size and 0.5 / size, as in word2vec.c and GloVe.
    pub(crate) fn uniform(rows: usize, size: usize, stride: usize, random: &mut Random) -> Matrix {
        let mut matrix = Matrix::zeros(rows, stride);
        for row in 0..rows {
            matrix.numbers_mut(row)[..size].iter_mut().for_each(|x| *x = (random.unit() - 0.5) / size as f32);
        }
        matrix
    }

    /// Bytes of such a matrix.
    pub(crate) fn bytes(rows: usize, stride: usize) -> u64 {
        (rows * stride * size_of::<Lanes>()) as u64
    }

    /// Where a row begins.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> Row {
        self.cells[row * self.stride..][..self.stride].as_ptr().cast::<Lanes>().cast_mut()
    }

    /// The numbers of a row, padding included.
    pub(crate) fn numbers_mut(&mut self, row: usize) -> &mut [f32] {
        let pointer = self.row(row).cast::<f32>();
        // SAFETY: nobody else has the matrix, and a group is 16 numbers.
        unsafe { std::slice::from_raw_parts_mut(pointer, self.stride * WIDTH) }
    }

    /// A copy of the first `size` numbers of a row; for when no thread writes.
    pub(crate) fn numbers(&self, row: usize, size: usize) -> Vec<f32> {
        let start = self.row(row);
        // SAFETY: the group lies within the row.
        let mut numbers: Vec<f32> = (0..groups(size)).flat_map(|group| unsafe { start.add(group).read() }.0).collect();
        numbers.truncate(size);
        numbers
    }

    pub(crate) fn write(&self, to: &mut impl Write) -> Result<()> {
        let mut bytes = Vec::new();
        for row in 0..self.rows {
            bytes.clear();
            self.numbers(row, self.stride * WIDTH).iter().for_each(|x| bytes.extend(x.to_le_bytes()));
            to.write_all(&bytes)?;
        }
        Ok(())
    }

    /// Fills the matrix with what `write` wrote.
    pub(crate) fn read(&mut self, from: &mut impl Read) -> Result<()> {
        let mut bytes = vec![0; self.stride * size_of::<Lanes>()];
        for row in 0..self.rows {
            from.read_exact(&mut bytes)?;
            for (number, bytes) in self.numbers_mut(row).iter_mut().zip(bytes.as_chunks::<4>().0) {
                *number = f32::from_le_bytes(*bytes);
            }
        }
        Ok(())
    }
}
