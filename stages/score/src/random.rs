//! The random numbers of numpy's `default_rng(seed)`: PCG64 (O'Neill, 2014) seeded through SeedSequence, with bounded integers by
//! Lemire's method on 32 bits. So intervals and tests draw the very rows that sacrebleu draws, and can be held against it.

/// A generator; the same numbers for the same seed everywhere.
pub struct Generator {
    state: u128,
    increment: u128,
    /// The upper half of the last 64 bits, of which only the lower was used.
    half: Option<u32>,
}

const MULTIPLIER: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;

impl Generator {
    pub fn new(seed: u64) -> Generator {
        let [state_high, state_low, increment_high, increment_low] = spread(seed);
        let wide = |high: u64, low: u64| u128::from(high) << 64 | u128::from(low);
        let increment = wide(increment_high, increment_low) << 1 | 1;
        let mut generator = Generator { state: 0, increment, half: None };
        generator.step();
        generator.state = generator.state.wrapping_add(wide(state_high, state_low));
        generator.step();
        generator
    }

    fn step(&mut self) {
        self.state = self.state.wrapping_mul(MULTIPLIER).wrapping_add(self.increment);
    }

    fn next_64(&mut self) -> u64 {
        self.step();
        ((self.state >> 64) as u64 ^ self.state as u64).rotate_right((self.state >> 122) as u32)
    }

    fn next_32(&mut self) -> u32 {
        if let Some(half) = self.half.take() {
            return half;
        }
        let both = self.next_64();
        self.half = Some((both >> 32) as u32);
        both as u32
    }

    /// A number below `bound`, which is at least 1.
    pub fn below(&mut self, bound: u32) -> u32 {
        if bound == 1 {
            return 0;
        }
        loop {
            let product = u64::from(self.next_32()) * u64::from(bound);
            // A low half below this would make some numbers likelier than others.
            let low = product as u32;
            if low >= bound || low >= bound.wrapping_neg() % bound {
                return (product >> 32) as u32;
            }
        }
    }

    /// Tosses of a coin; each 32 of them use one number of 32 bits, whose rest is dropped at the end.
    pub fn coins(&mut self) -> impl FnMut() -> bool {
        let (mut bits, mut left) = (0, 0);
        move || {
            if left == 0 {
                (bits, left) = (self.next_32(), 32);
            }
            let coin = bits & 1 == 1;
            (bits, left) = (bits >> 1, left - 1);
            coin
        }
    }
}

/// The 256 bits that numpy's SeedSequence makes of a seed.
fn spread(seed: u64) -> [u64; 4] {
    fn scramble(mut value: u32, constant: &mut u32, multiplier: u32) -> u32 {
        value ^= *constant;
        *constant = constant.wrapping_mul(multiplier);
        value = value.wrapping_mul(*constant);
        value ^ value >> 16
    }
    let mix = |a: u32, b: u32| {
        let mixed = a.wrapping_mul(0xca01_f9dd).wrapping_sub(b.wrapping_mul(0x4973_f715));
        mixed ^ mixed >> 16
    };
    let mut constant = 0x43b0_d7e5;
    let mut pool = [seed as u32, (seed >> 32) as u32, 0, 0].map(|word| scramble(word, &mut constant, 0x931e_8875));
    for from in 0..4 {
        for to in (0..4).filter(|to| *to != from) {
            pool[to] = mix(pool[to], scramble(pool[from], &mut constant, 0x931e_8875));
        }
    }
    let mut constant = 0x8b51_f9dd;
    let words: [u32; 8] = std::array::from_fn(|word| scramble(pool[word % 4], &mut constant, 0x58f3_8ded));
    std::array::from_fn(|word| u64::from(words[2 * word + 1]) << 32 | u64::from(words[2 * word]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// numpy 2.4: `default_rng(12345).integers(0, 1000, 8)`, `.integers(2, size=40, dtype=bool)` and `default_rng(2**40 + 5).integers(0, 7, 5)`.
    #[test]
    fn equals_numpy() {
        let mut generator = Generator::new(12345);
        let drawn: Vec<u32> = (0..8).map(|_| generator.below(1000)).collect();
        assert_eq!(drawn, [699, 227, 788, 316, 204, 797, 642, 676]);
        let mut generator = Generator::new((1 << 40) + 5);
        assert_eq!([0; 5].map(|_: u32| generator.below(7)), [0, 0, 3, 2, 6]);
        let mut generator = Generator::new(12345);
        let mut coin = generator.coins();
        let tossed: String = (0..40).map(|_| if coin() { '1' } else { '0' }).collect();
        assert_eq!(tossed, "1011100110000011111111110100110110110001");
    }
}
