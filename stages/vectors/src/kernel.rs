//! The inner loops: rows of numbers as groups of 16, which every compiler target turns into its vector instructions.
//!
//! Sums keep 16 partial sums in a fixed order and no operation is fused, so results are the same on every processor.

/// Numbers in a group: one AVX-512 register, two of AVX2, four of SSE or NEON.
pub(crate) const WIDTH: usize = 16;

/// A group of numbers, one cache line.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub(crate) struct Lanes(pub(crate) [f32; WIDTH]);

impl Lanes {
    pub(crate) const ZERO: Lanes = Lanes([0.0; WIDTH]);

    #[expect(clippy::needless_range_loop, reason = "plain loops over lanes are what compilers turn into vectors")]
    #[inline(always)]
    fn zip(self, other: Lanes, f: impl Fn(f32, f32) -> f32) -> Lanes {
        let mut out = [0.0; WIDTH];
        for lane in 0..WIDTH {
            out[lane] = f(self.0[lane], other.0[lane]);
        }
        Lanes(out)
    }

    /// `self` + `factor` × `other`
    #[inline(always)]
    fn plus(self, factor: f32, other: Lanes) -> Lanes {
        self.zip(other, |a, b| a + factor * b)
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        let mut sums = self.0;
        let mut half = WIDTH / 2;
        while half > 0 {
            for lane in 0..half {
                sums[lane] += sums[lane + half];
            }
            half /= 2;
        }
        sums[0]
    }
}

/// The groups that hold `size` numbers.
pub(crate) fn groups(size: usize) -> usize {
    size.div_ceil(WIDTH)
}

/// A row that other threads may write at the same time: where it begins. All rows of a call have `groups` groups, zeros after their end.
///
/// Groups are read and written whole, by value: no reference to memory that changes ever exists.
pub(crate) type Row = *mut Lanes;

/// The scalar product of two rows.
///
/// # Safety
/// Both rows have `groups` groups.
#[inline(always)]
pub(crate) unsafe fn dot(a: Row, b: Row, groups: usize) -> f32 {
    let mut sums = Lanes::ZERO;
    for group in 0..groups {
        // SAFETY: within the rows.
        let (x, y) = unsafe { (a.add(group).read(), b.add(group).read()) };
        sums = sums.zip(x.zip(y, |x, y| x * y), |sum, product| sum + product);
    }
    sums.sum()
}

/// `to` += `factor` × `from`
///
/// # Safety
/// Both rows have `groups` groups.
#[inline(always)]
pub(crate) unsafe fn add(to: Row, factor: f32, from: Row, groups: usize) {
    for group in 0..groups {
        // SAFETY: within the rows.
        unsafe { to.add(group).write(to.add(group).read().plus(factor, from.add(group).read())) };
    }
}

/// `row` = 0
///
/// # Safety
/// The row has `groups` groups.
#[inline(always)]
pub(crate) unsafe fn clear(row: Row, groups: usize) {
    for group in 0..groups {
        // SAFETY: within the row.
        unsafe { row.add(group).write(Lanes::ZERO) };
    }
}

/// `row` = `factor` × `row`
///
/// # Safety
/// The row has `groups` groups.
#[inline(always)]
pub(crate) unsafe fn scale(row: Row, factor: f32, groups: usize) {
    for group in 0..groups {
        // SAFETY: within the row.
        unsafe { row.add(group).write(Lanes::ZERO.plus(factor, row.add(group).read())) };
    }
}

/// `work` += `factor` × `target`, then `target` += `factor` × `hidden`, in one pass over the target.
///
/// # Safety
/// The rows have `groups` groups.
#[inline(always)]
pub(crate) unsafe fn exchange(work: Row, target: Row, hidden: Row, factor: f32, groups: usize) {
    for group in 0..groups {
        // SAFETY: within the rows.
        unsafe {
            let old = target.add(group).read();
            work.add(group).write(work.add(group).read().plus(factor, old));
            target.add(group).write(old.plus(factor, hidden.add(group).read()));
        }
    }
}

/// AdaGrad for a pair of rows, each followed by its sums of squares: the gradient of one is `factor` times the other.
///
/// # Safety
/// The rows have 2 × `groups` groups.
#[inline(always)]
pub(crate) unsafe fn adagrad(a: Row, b: Row, factor: f32, groups: usize) {
    for group in 0..groups {
        // SAFETY: within the rows.
        unsafe {
            let (old_a, old_b) = (a.add(group).read(), b.add(group).read());
            let (squares_a, squares_b) = (a.add(groups + group).read(), b.add(groups + group).read());
            let (step_a, step_b) = (Lanes::ZERO.plus(factor, old_b), Lanes::ZERO.plus(factor, old_a));
            a.add(group).write(old_a.zip(step_a.zip(squares_a, |step, sum| step / sum.sqrt()), |old, step| old - step));
            b.add(group).write(old_b.zip(step_b.zip(squares_b, |step, sum| step / sum.sqrt()), |old, step| old - step));
            a.add(groups + group).write(squares_a.zip(step_a, |sum, step| sum + step * step));
            b.add(groups + group).write(squares_b.zip(step_b, |sum, step| sum + step * step));
        }
    }
}

/// Asks for a row's memory before it is needed.
#[inline(always)]
pub(crate) fn prefetch(row: Row, groups: usize) {
    #[cfg(target_arch = "x86_64")]
    for group in 0..groups {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch reads nothing, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(row.wrapping_add(group).cast::<i8>()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (row, groups);
}

/// Work made of the loops above. `run` must be `#[inline(always)]`.
pub(crate) trait Work {
    type Result;
    fn run(self) -> Self::Result;
}

/// Runs `work` as compiled for the widest vector instructions that the processor has.
pub(crate) fn vectorized<W: Work>(work: W) -> W::Result {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw")]
        fn avx512<W: Work>(work: W) -> W::Result {
            work.run()
        }
        #[target_feature(enable = "avx2")]
        fn avx2<W: Work>(work: W) -> W::Result {
            work.run()
        }
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw")
        {
            // SAFETY: the processor has the instructions.
            return unsafe { avx512(work) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has the instructions.
            return unsafe { avx2(work) };
        }
    }
    work.run()
}
