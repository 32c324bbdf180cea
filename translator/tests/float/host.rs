//! Against the host's arithmetic, which has the default rounding mode and shows results only.
//! NaNs are compared as such: their bits are MIPS's own, and QEMU is asked about them.

use translator::float::{self, Fcsr, Format, Integer, RoundingMode, Rules};

use crate::operands::{Kind, Operands};

const ROUNDS: u32 = 1_000_000;

fn same_double(ours: u64, host: f64, what: &str) {
    let nan = host.is_nan() && ours == 0x7ff7_ffff_ffff_ffff;
    assert!(nan || ours == host.to_bits(), "{what}: {ours:#x}, host {:#x}", host.to_bits());
}

fn same_single(ours: u64, host: f32, what: &str) {
    let nan = host.is_nan() && ours == 0x7fbf_ffff;
    assert!(nan || ours == u64::from(host.to_bits()), "{what}: {ours:#x}, host {:#x}", host.to_bits());
}

#[test]
fn doubles_agree_with_the_host() {
    let mut operands = Operands::new(1);
    let mut fcsr = Fcsr::default();
    for _ in 0..ROUNDS {
        let [x, y, _] = operands.triple(Kind::Float(Format::D));
        let (a, b) = (f64::from_bits(x), f64::from_bits(y));
        let what = format!("{a:e} and {b:e}");
        same_double(float::add(&mut fcsr, Format::D, x, y).unwrap(), a + b, &what);
        same_double(float::sub(&mut fcsr, Format::D, x, y).unwrap(), a - b, &what);
        same_double(float::mul(&mut fcsr, Format::D, x, y).unwrap(), a * b, &what);
        same_double(float::div(&mut fcsr, Format::D, x, y).unwrap(), a / b, &what);
        same_double(float::sqrt(&mut fcsr, Format::D, x).unwrap(), a.sqrt(), &what);
        same_single(float::narrow(&mut fcsr, x).unwrap(), a as f32, &what);
    }
}

#[test]
fn singles_agree_with_the_host() {
    let mut operands = Operands::new(2);
    let mut fcsr = Fcsr::default();
    for _ in 0..ROUNDS {
        let [x, y, _] = operands.triple(Kind::Float(Format::S));
        let (a, b) = (f32::from_bits(x as u32), f32::from_bits(y as u32));
        let what = format!("{a:e} and {b:e}");
        same_single(float::add(&mut fcsr, Format::S, x, y).unwrap(), a + b, &what);
        same_single(float::sub(&mut fcsr, Format::S, x, y).unwrap(), a - b, &what);
        same_single(float::mul(&mut fcsr, Format::S, x, y).unwrap(), a * b, &what);
        same_single(float::div(&mut fcsr, Format::S, x, y).unwrap(), a / b, &what);
        same_single(float::sqrt(&mut fcsr, Format::S, x).unwrap(), a.sqrt(), &what);
        same_double(float::widen(&mut fcsr, x).unwrap(), f64::from(a), &what);
    }
}

#[test]
fn integers_agree_with_the_host() {
    let mut operands = Operands::new(3);
    let mut fcsr = Rules::RELEASE_6.reset();
    for _ in 0..ROUNDS {
        let [integer, ..] = operands.triple(Kind::Long);
        let value = integer as i64;
        let double = float::from_integer(&mut fcsr, Format::D, Integer::L, integer).unwrap();
        same_double(double, value as f64, "cvt.d.l");
        let single = float::from_integer(&mut fcsr, Format::S, Integer::W, integer).unwrap();
        same_single(single, value as i32 as f32, "cvt.s.w");
        let bits = operands.float(Format::D);
        let long = float::to_integer(&mut fcsr, Integer::L, Format::D, RoundingMode::Zero, bits).unwrap();
        assert_eq!(long as i64, f64::from_bits(bits) as i64);
        let word = float::to_integer(&mut fcsr, Integer::W, Format::D, RoundingMode::Zero, bits).unwrap();
        assert_eq!(word, u64::from((f64::from_bits(bits) as i32) as u32));
    }
}
