//! Operands worth trying: the edges of each format, their neighbours, and random bits. Seeded, so
//! that a failure comes back. Knows the layouts of the formats and no arithmetic.

use translator::float::Format;

/// What an instruction takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Float(Format),
    Word,
    Long,
    /// General register 12, with only these bits.
    General(u64),
}

/// A source of operands (SplitMix64).
pub struct Operands(u64);

impl Operands {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.bits() % limit
    }

    /// Three operands; the second is often chosen so that a sum, product or quotient of the first
    /// two is at a limit of the format.
    pub fn triple(&mut self, kind: Kind) -> [u64; 3] {
        match kind {
            Kind::Float(format) => {
                let first = self.float(format);
                let second =
                    if self.below(3) == 0 { self.partner(format, first) } else { self.float(format) };
                [first, second, self.float(format)]
            }
            Kind::Word | Kind::Long => [self.integer(), 0, 0],
            Kind::General(mask) => [self.bits() & mask, 0, 0],
        }
    }

    pub fn float(&mut self, format: Format) -> u64 {
        let layout = Layout::of(format);
        match self.below(8) {
            0 | 1 => self.edge(layout),
            2 => self.bits() & layout.all(),
            3 => self.whole(layout),
            4 => layout.compose(self.bits(), layout.bias + self.below(70), self.bits()),
            5 => layout.compose(self.bits(), self.below(3), self.bits()),
            6 => layout.compose(self.bits(), layout.top() - 1 - self.below(2), self.bits()),
            _ => layout.compose(self.bits(), self.bits(), self.sparse(layout)),
        }
    }

    /// A number for which `first` times it, or over it, is close to a limit, or of the same size.
    fn partner(&mut self, format: Format, first: u64) -> u64 {
        let layout = Layout::of(format);
        let exponent = first >> layout.fraction & layout.top();
        let target = match self.below(5) {
            0 => layout.bias.wrapping_sub(exponent),
            1 => (3 * layout.bias).wrapping_sub(exponent),
            2 => exponent.wrapping_add(layout.bias),
            3 => exponent.wrapping_sub(layout.bias),
            _ => exponent,
        };
        let near = target.wrapping_add(self.below(5)).wrapping_sub(2);
        let fraction = if self.below(2) == 0 { self.bits() } else { self.sparse(layout) };
        layout.compose(self.bits(), near.min(layout.top() - 1), fraction)
    }

    /// Zeros, subnormals, limits, infinities and NaNs of both kinds, with a small disturbance.
    fn edge(&mut self, layout: Layout) -> u64 {
        let one = layout.bias << layout.fraction;
        let infinity = layout.top() << layout.fraction;
        let quiet = 1 << (layout.fraction - 1);
        let edges = [
            0,
            1,
            2,
            quiet,
            1 << layout.fraction,
            one,
            infinity - 1,
            infinity,
            infinity + 1,
            infinity | quiet,
        ];
        let edge = edges[self.below(edges.len() as u64) as usize];
        let disturbance = [0, 0, 0, 1, u64::MAX][self.below(5) as usize];
        let sign = self.below(2) * layout.sign();
        edge.wrapping_add(disturbance) & (layout.sign() - 1) | sign
    }

    /// Small whole numbers, halves and quarters.
    fn whole(&mut self, layout: Layout) -> u64 {
        let value = (self.below(65) as f64 - 32.0) / [1.0, 2.0, 4.0][self.below(3) as usize];
        if layout.fraction == 52 { value.to_bits() } else { (value as f32).to_bits().into() }
    }

    /// A fraction of few bits, or all but a few: these make ties and long carries.
    fn sparse(&mut self, layout: Layout) -> u64 {
        let bits = 1_u64 << self.below(layout.fraction) | 1 << self.below(layout.fraction);
        if self.below(2) == 0 { bits } else { !bits }
    }

    /// Integers of every length, and the neighbours of powers of two.
    fn integer(&mut self) -> u64 {
        let power = 1_u64 << self.below(64);
        let value = match self.below(3) {
            0 => self.bits() >> self.below(64),
            1 => power.wrapping_add(self.below(5)).wrapping_sub(2),
            _ => power | power >> 24 | power >> 25 | power >> 53 | self.below(2),
        };
        if self.below(2) == 0 { value } else { value.wrapping_neg() }
    }
}

#[derive(Clone, Copy)]
struct Layout {
    fraction: u64,
    exponent: u64,
    bias: u64,
}

impl Layout {
    fn of(format: Format) -> Self {
        match format {
            Format::S => Self { fraction: 23, exponent: 8, bias: 127 },
            Format::D => Self { fraction: 52, exponent: 11, bias: 1023 },
        }
    }

    /// The largest exponent field.
    fn top(self) -> u64 {
        (1 << self.exponent) - 1
    }

    fn sign(self) -> u64 {
        1 << (self.fraction + self.exponent)
    }

    fn all(self) -> u64 {
        self.sign() | (self.sign() - 1)
    }

    fn compose(self, sign: u64, exponent: u64, fraction: u64) -> u64 {
        let exponent = (exponent & self.top()) << self.fraction;
        let fraction = fraction & ((1 << self.fraction) - 1);
        let sign = (sign & 1) * self.sign();
        sign | exponent | fraction
    }
}
