//! What the programs of the benchmark compute, in Rust: one call is one `unit` of the program of the same name, with
//! the same result. It must not know of guests.

use std::hint::black_box;

/// A loop of shifts, sums and differences whose steps depend on each other.
pub fn integer() -> i32 {
    let mut value: u32 = black_box(1);
    for count in (1..=100_000u32).rev() {
        value = value.wrapping_add(value << 3) ^ count;
        value = value.wrapping_sub(value >> 7);
    }
    value as i32
}

/// Three passes over arrays.
pub fn stream() -> i32 {
    let from: Vec<u64> = black_box((0..16384).collect());
    let to: Vec<u64> = black_box(from.iter().map(|value| value + 7).collect());
    to.iter().fold(0, |sum: u64, value| sum.wrapping_add(*value)) as i32
}

/// How many primes are below 65536.
pub fn sieve() -> i32 {
    let mut composite = black_box(vec![false; 65536]);
    let mut primes = 0;
    for number in 2..composite.len() {
        if composite[number] {
            continue;
        }
        primes += 1;
        for multiple in (number * number..composite.len()).step_by(number) {
            composite[multiple] = true;
        }
    }
    primes
}

/// The 20th number of Fibonacci by calls alone.
pub fn recursion() -> i32 {
    fn fibonacci(number: i32) -> i32 {
        // Without the boxes the compiler makes loops of the calls.
        let of = black_box(fibonacci as fn(i32) -> i32);
        if number < 2 { number } else { of(number - 1) + of(number - 2) }
    }
    fibonacci(black_box(20))
}

/// A list of 65536 links in an order that no cache can foresee, followed four times around.
pub fn chase() -> i32 {
    let link = |index: u32| (index.wrapping_mul(1_664_525).wrapping_add(1_013_904_223) & 0xffff) << 2;
    let links: Vec<u32> = black_box((0..65536).map(link).collect());
    let (mut at, mut sum) = (0, 0u32);
    for _ in 0..262_144 {
        at = links[at as usize / 4];
        sum = sum.wrapping_add(at);
    }
    (sum ^ at) as i32
}

/// The sum of the elements of a product of matrices.
pub fn matrix() -> i32 {
    const SIZE: usize = 32;
    let make = |of: fn(f64, f64) -> f64| {
        (0..SIZE * SIZE).map(|at| of((at / SIZE) as f64, (at % SIZE) as f64)).collect()
    };
    let left: Vec<f64> = black_box(make(|row, column| row + column));
    let right: Vec<f64> = black_box(make(|row, column| row - column));
    let mut sum = 0.0;
    for row in left.chunks(SIZE) {
        for column in 0..SIZE {
            let products = row.iter().zip(right[column..].iter().step_by(SIZE)).map(|(l, r)| l * r);
            sum += products.fold(0.0, |dot, product| dot + product);
        }
    }
    sum as i32
}

/// 4096 random words by the sort of Shell.
pub fn sort() -> i32 {
    let mut seed = black_box(12345u32);
    let next = |_| {
        seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12345);
        seed >> 8
    };
    let mut words: Vec<u32> = (0..4096).map(next).collect();
    let mut gap = words.len() / 2;
    while gap > 0 {
        for start in gap..words.len() {
            let word = words[start];
            let mut place = start;
            while place >= gap && word < words[place - gap] {
                words[place] = words[place - gap];
                place -= gap;
            }
            words[place] = word;
        }
        gap /= 2;
    }
    words.iter().fold(0u32, |hash, word| hash.wrapping_mul(31).wrapping_add(*word)) as i32
}

/// Words and vowels of a text in capitals.
pub fn strings() -> i32 {
    let mut letter = 0;
    let next = |_| {
        letter = (letter + 7) % 29;
        if letter < 26 { b'a' + letter } else { b' ' }
    };
    let text: Vec<u8> = black_box((0..4095).map(next).collect());
    let copy = black_box(text.to_ascii_uppercase());
    let worth = |letter: &u8| match letter {
        b'A' | b'E' | b'I' | b'O' => 1,
        b' ' => 1000,
        _ => 0,
    };
    copy.iter().map(worth).sum()
}

/// An interpreter of a small machine.
pub fn dispatch() -> i32 {
    let code = black_box([0u8, 3, 1, 5, 2, 1, 3, 7, 0, 11, 4, 0, 5, 0]);
    let (mut at, mut left, mut value) = (0, 20_000, 1u32);
    loop {
        let (instruction, operand) = (code[at], u32::from(code[at + 1]));
        at += 2;
        match instruction {
            0 => value = value.wrapping_add(operand),
            1 => value ^= operand << 4,
            2 => value <<= operand,
            3 => value ^= value >> operand,
            4 => {
                left -= 1;
                at = if left == 0 { at } else { 0 };
            }
            _ => return value as i32,
        }
    }
}

/// Additions to one word, each atomic.
pub fn atomics() -> i32 {
    use std::sync::atomic::{AtomicI32, Ordering};
    let word = black_box(AtomicI32::new(0));
    for number in 1..=20_000 {
        word.fetch_add(number, Ordering::SeqCst);
    }
    word.into_inner()
}

/// FNV-1a of 64 bits.
pub fn hash() -> i32 {
    let bytes: Vec<u8> = black_box((1..=16384u32).rev().map(|number| number as u8).collect());
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix);
    (hash ^ hash >> 32) as i32
}
