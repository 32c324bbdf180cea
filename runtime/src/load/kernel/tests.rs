//! Tests of the loaders, on small ELF files made here and on mutations of them.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::board::fdt::{self, Chosen};
use crate::board::virt;
use crate::load::WriteError;
use crate::load::elf::{self, Abi};

const MEGABYTE: u64 = 1 << 20;

/// RAM that is only as large as what was written to it.
struct Ram {
    banks: Vec<Window>,
    written: Vec<(Pa, Vec<u8>)>,
    cleared: u64,
}

impl Ram {
    fn new(megabytes: u64) -> Self {
        let banks = vec![Window { base: Pa(0), size: megabytes * MEGABYTE }];
        Self { banks, written: Vec::new(), cleared: 0 }
    }
}

impl RamWriter for Ram {
    fn write(&mut self, pa: Pa, bytes: &[u8]) -> Result<(), WriteError> {
        let length = bytes.len() as u64;
        if !self.banks.iter().any(|bank| bank.holds(pa, length)) {
            return Err(WriteError { pa, length });
        }
        self.written.push((pa, bytes.to_vec()));
        Ok(())
    }

    fn clear(&mut self, _pa: Pa, length: u64) -> Result<(), WriteError> {
        self.cleared += length;
        Ok(())
    }
}

/// The header and one loadable segment of a MIPS64 little-endian executable.
fn elf64(va: u64, contents: &[u8], memory_size: u64) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let mut put = |bytes: &[u8]| file.extend(bytes);
    put(&2u16.to_le_bytes()); // ET_EXEC
    put(&8u16.to_le_bytes()); // EM_MIPS
    put(&1u32.to_le_bytes());
    put(&va.to_le_bytes());
    put(&64u64.to_le_bytes()); // program headers
    put(&0u64.to_le_bytes()); // no sections
    put(&0x8000_0001u32.to_le_bytes());
    for half in [64u16, 56, 1, 64, 0, 0] {
        put(&half.to_le_bytes());
    }
    put(&1u32.to_le_bytes()); // PT_LOAD
    put(&7u32.to_le_bytes());
    for double in [120, va, va, contents.len() as u64, memory_size, 0x1000] {
        put(&double.to_le_bytes());
    }
    put(contents);
    file
}

/// The same, 32 bits wide and big-endian.
fn elf32_big(va: u32, contents: &[u8]) -> Vec<u8> {
    let mut file = b"\x7fELF\x01\x02\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let mut put = |bytes: &[u8]| file.extend(bytes);
    put(&2u16.to_be_bytes());
    put(&8u16.to_be_bytes());
    for word in [1, va, 52, 0, 0x7000_0001] {
        put(&u32::to_be_bytes(word));
    }
    for half in [52u16, 32, 1, 40, 0, 0] {
        put(&half.to_be_bytes());
    }
    let length = contents.len() as u32;
    for word in [1, 84, va, va, length, length, 7, 0x1000] {
        put(&u32::to_be_bytes(word));
    }
    put(contents);
    file
}

const LINK: u64 = 0xffff_ffff_8010_0000;

struct Disk(TempDir);

impl Disk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

fn try_load(kernel: &Path, initrd: Option<&Path>, ram: &mut Ram) -> Result<Boot, LoadError> {
    let banks = ram.banks.clone();
    load(Request { kernel, initrd, ram: &banks }, ram, |_| Ok(vec![0xd0; 3000]))
}

#[test]
fn places_kernel_tree_and_initrd_apart() {
    let disk = Disk::new();
    let kernel = disk.file("vmlinux", &elf64(LINK, b"kernel", 8 * MEGABYTE));
    let initrd = disk.file("initrd", &vec![1; 5000]);
    let mut ram = Ram::new(256);
    let boot = try_load(&kernel, Some(&initrd), &mut ram).unwrap();
    assert_eq!((boot.entry, boot.a0), (Va(LINK), -2i64 as u64));
    assert!(boot.placement.room_to_relocate);
    let end = 256 * MEGABYTE;
    let disk_at = boot.placement.initrd.unwrap();
    assert_eq!(disk_at, Pa(end - 8192)..Pa(end - 8192 + 5000));
    assert_eq!(boot.a1, Va(0xffff_ffff_8000_0000 + end - 12288));
    let places: Vec<_> = ram.written.iter().map(|(pa, bytes)| (pa.0, bytes.len())).collect();
    assert_eq!(places, [(0x10_0000, 6), (end - 8192, 5000), (end - 12288, 3000)]);
    assert_eq!(ram.cleared, 8 * MEGABYTE - 6);
}

#[test]
fn says_when_the_kernel_must_not_move() {
    let disk = Disk::new();
    let kernel = disk.file("vmlinux", &elf64(LINK, b"kernel", 8 * MEGABYTE));
    let boot = try_load(&kernel, None, &mut Ram::new(16)).unwrap();
    assert!(!boot.placement.room_to_relocate);
    assert_eq!(boot.placement.initrd, None);
}

#[test]
fn takes_32_bit_big_endian_files() {
    let disk = Disk::new();
    let kernel = disk.file("vmlinux", &elf32_big(0x8010_0000, b"kernel"));
    let boot = try_load(&kernel, None, &mut Ram::new(64)).unwrap();
    assert_eq!(boot.entry, Va(LINK));
    assert_eq!(boot.target, Target { abi: Abi::O32 { wide_floats: false }, big_endian: true });
}

#[test]
fn each_refusal_is_a_sentence_that_names_the_file() {
    let disk = Disk::new();
    let mut other = elf64(LINK, b"x", 1);
    other[18] = 62; // EM_X86_64
    let mut cut = elf64(LINK, b"x", 1);
    cut.truncate(100);
    let mut object = elf64(LINK, b"x", 1);
    object[16] = 1; // ET_REL
    let cases: [(&str, Vec<u8>, &str); 8] = [
        ("text", b"#!/bin/sh".to_vec(), "is not an ELF file"),
        ("empty", Vec::new(), "is not an ELF file"),
        ("x86", other, "is for another machine"),
        ("cut", cut, "is a damaged or truncated ELF file"),
        ("object", object, "is not an executable"),
        ("mapped", elf64(0x12_0000_0000, b"x", 1), "is not in an unmapped part"),
        ("beyond", elf64(0xffff_ffff_9010_0000, b"x", 1), "there is no RAM"),
        ("huge", elf64(LINK, b"x", u64::MAX), "there is no RAM"),
    ];
    for (name, bytes, reason) in cases {
        let path = disk.file(name, &bytes);
        let message = try_load(&path, None, &mut Ram::new(64)).unwrap_err().to_string();
        assert!(message.contains(reason) && message.contains(name), "{message}");
    }
    let missing = disk.0.path().join("missing");
    let error = try_load(&missing, None, &mut Ram::new(64)).unwrap_err();
    assert!(matches!(error, LoadError::Unreadable { .. }), "{error}");
}

#[test]
fn refuses_what_does_not_fit() {
    let disk = Disk::new();
    let kernel = disk.file("vmlinux", &elf64(LINK, b"kernel", 2 * MEGABYTE));
    let initrd = disk.file("initrd", &vec![1; 2 * MEGABYTE as usize]);
    let error = try_load(&kernel, Some(&initrd), &mut Ram::new(4)).unwrap_err();
    assert!(matches!(error, LoadError::TooLittleMemory { .. }), "{error}");
    let error = try_load(&kernel, Some(&initrd), &mut Ram::new(1)).unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { .. }), "{error}");
    let error = try_load(&kernel, Some(Path::new("/dev/zero")), &mut Ram::new(4)).unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { .. }), "{error}");
}

#[test]
fn the_kernel_gets_the_board_s_tree() {
    let disk = Disk::new();
    let kernel = disk.file("vmlinux", &elf64(LINK, b"kernel", 8 * MEGABYTE));
    let initrd = disk.file("initrd", b"initrd");
    let plan = virt::plan(virt::Size { ram: 64 * MEGABYTE, vcpus: 2, virtio: 1 }).unwrap();
    let mut ram = Ram::new(64);
    let request = Request { kernel: &kernel, initrd: Some(&initrd), ram: &plan.ram };
    let boot = load(request, &mut ram, |placement| {
        let chosen = Chosen { initrd: placement.initrd.clone(), ..Chosen::default() };
        Ok(fdt::build(&plan, &chosen)?)
    });
    let tree_at = elf::unmapped(boot.unwrap().a1).unwrap();
    let (_, tree) = ram.written.iter().find(|(pa, _)| *pa == tree_at).unwrap();
    assert!(tree.starts_with(&0xd00d_feed_u32.to_be_bytes()));
}
