//! An assembled program as a static executable for Linux on MIPS64 (n64), with nothing but its segments: for QEMU's
//! user mode. The numbers are those of the System V ABI and its MIPS supplement.

use translator::asm::Program;

const HEADER_BYTES: u64 = 64;
const SEGMENT_HEADER_BYTES: u64 = 56;
const EXECUTABLE: u16 = 2;
const MIPS: u16 = 8;
/// `EF_MIPS_ARCH_64R2`, and `EF_MIPS_NOREORDER`.
const FLAGS: u32 = 0x8000_0001;
const LOAD: u32 = 1;
/// Readable, writable and executable: one of the programs changes its code.
const PERMISSIONS: u32 = 7;
const PAGE: u64 = 1 << 16;

/// The bytes of the file. The exception handler, which Linux has itself, is left out.
pub fn executable(program: &Program) -> Vec<u8> {
    let is_user = |address: u64| address < 1 << 31;
    let segments: Vec<_> = program.segments.iter().filter(|segment| is_user(segment.base.0)).collect();
    let mut file = header(program.entry.0, segments.len() as u16);
    let mut offset = HEADER_BYTES + SEGMENT_HEADER_BYTES * segments.len() as u64;
    for segment in &segments {
        // The kernel maps pages, so address and offset agree within a page.
        offset = congruent(offset, segment.base.0);
        file.extend([LOAD, PERMISSIONS].into_iter().flat_map(u32::to_le_bytes));
        let (address, size) = (segment.base.0, segment.bytes.len() as u64);
        file.extend([offset, address, address, size, size, PAGE].into_iter().flat_map(u64::to_le_bytes));
        offset += size;
    }
    for segment in &segments {
        file.resize(congruent(file.len() as u64, segment.base.0) as usize, 0);
        file.extend(&segment.bytes);
    }
    file
}

/// The least number from `offset` on that is the same within a page as `address`.
fn congruent(offset: u64, address: u64) -> u64 {
    offset + (address.wrapping_sub(offset) & (PAGE - 1))
}

fn header(entry: u64, segments: u16) -> Vec<u8> {
    const WIDE: u8 = 2;
    const LITTLE_ENDIAN: u8 = 1;
    const VERSION: u8 = 1;
    let mut bytes = b"\x7fELF".to_vec();
    bytes.extend([WIDE, LITTLE_ENDIAN, VERSION]);
    bytes.resize(16, 0);
    bytes.extend([EXECUTABLE, MIPS].into_iter().flat_map(u16::to_le_bytes));
    bytes.extend(u32::from(VERSION).to_le_bytes());
    bytes.extend([entry, HEADER_BYTES, 0].into_iter().flat_map(u64::to_le_bytes));
    bytes.extend(FLAGS.to_le_bytes());
    let sizes = [HEADER_BYTES as u16, SEGMENT_HEADER_BYTES as u16, segments, 0, 0, 0];
    bytes.extend(sizes.into_iter().flat_map(u16::to_le_bytes));
    bytes
}
