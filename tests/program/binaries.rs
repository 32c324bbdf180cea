//! Programs that this assembler has not made: what GNU's compiler makes, in every calling convention and order of bytes,
//! and bytes without any form.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

const COMPILER: &str = "mips64el-linux-gnuabi64-gcc";
/// What `elf/sorter.c` prints, as the same functions compiled for the host print it.
const SORTED: &str = "-1 odd\n0 even\n2 even\n3 odd\n5 odd\n7 odd\n8 even\n9 odd\n3405 708 0x3456789a\n";

fn compile(directory: &Path, name: &str, options: &[&str]) {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/program/elf/sorter.c");
    let output = Command::new(COMPILER)
        .args(["-O2", "-nostdlib", "-ffreestanding", "-Wl,-e,__start", "-o", name])
        .args(options)
        .arg(source)
        .current_dir(directory)
        .output();
    let output = output.unwrap_or_else(|error| {
        panic!("cannot run {COMPILER}: {error}; install Debian's package `gcc-mips64el-linux-gnuabi64`")
    });
    assert!(output.status.success(), "{options:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn myvmm(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_myvmm"));
    command.current_dir(directory).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Low enough for n64, whose programs are linked above 4 GB otherwise.
const LOW: &str = "-Wl,-Ttext-segment=0x400000";

#[test]
fn compiled_programs_run_in_every_convention() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let narrow = ["-mabi=32", "-march=mips32r2"];
    let static_code = ["-static", "-mno-abicalls", "-fno-pic", "-G0", LOW];
    for order in ["-EL", "-EB"] {
        for (convention, cpus) in [
            (narrow, &["mips32r2", "mips64r2"][..]),
            (["-mabi=n32", "-march=mips64r2"], &["mips64r2"]),
            (["-mabi=64", "-march=mips64r2"], &["mips64r2"]),
        ] {
            compile(path, "sorter.elf", &[&convention[..], &static_code, &[order]].concat());
            for cpu in cpus {
                for engine in ["interp", "jit"] {
                    let output = myvmm(path, &["-v", "sorter.elf", "--cpu", cpu, "--engine", engine]);
                    let case = format!("{convention:?} {order} {engine}: {}", text(&output.stderr));
                    assert_eq!(
                        (text(&output.stdout).as_str(), output.status.code()),
                        (SORTED, Some(7)),
                        "{case}"
                    );
                }
            }
        }
    }
    for options in [&["-static"][..], &["-shared", "-fPIC"]] {
        compile(path, "sorter.elf", &[&narrow[..], options].concat());
        let output = myvmm(path, &["-v", "sorter.elf"]);
        assert_eq!(text(&output.stdout), SORTED, "{options:?}: {}", text(&output.stderr));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    compile(path, "wide.elf", &["-mabi=64", "-march=mips64r2", "-static", LOW]);
    compile(path, "far.elf", &["-mabi=64", "-march=mips64r2", "-static"]);
    compile(path, "floats.elf", &["-mabi=32", "-march=mips32r2", "-mfp64", "-static"]);
    compile(path, "object.elf", &["-mabi=32", "-march=mips32r2", "-c"]);
    let whole = fs::read(path.join("wide.elf")).unwrap();
    fs::write(path.join("cut.elf"), &whole[..300]).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_myvmm"), path.join("host.elf")).unwrap();
    fs::write(path.join("empty.bin"), []).unwrap();
    for (name, cpu, words) in [
        ("wide.elf", "mips32r2", "use --cpu mips64r2"),
        ("far.elf", "mips64r2", "-Ttext-segment=0x400000"),
        ("floats.elf", "mips32r2", "build it with -mfp32 or -mfpxx"),
        ("object.elf", "mips32r2", "not an executable"),
        ("cut.elf", "mips64r2", "damaged or truncated"),
        ("host.elf", "mips32r2", "for another machine"),
        ("empty.bin", "mips32r2", "no instructions"),
    ] {
        let output = myvmm(path, &["-v", name, "--cpu", cpu]);
        assert_eq!(output.status.code(), Some(2), "{name}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(words), "{name}: {}", text(&output.stderr));
    }
}

#[test]
fn flat_binaries_run_in_either_order_of_bytes() {
    let directory = TempDir::new().unwrap();
    // li $v0, 11; li $a0, 'F'; syscall; jr $ra; nop
    let words: [u32; 5] = [0x2402_000b, 0x2404_0046, 0x0000_000c, 0x03e0_0008, 0];
    for (name, endian, bytes) in [
        ("little.bin", "little", words.map(u32::to_le_bytes).concat()),
        ("big.bin", "big", words.map(u32::to_be_bytes).concat()),
    ] {
        fs::write(directory.path().join(name), bytes).unwrap();
        let output = myvmm(directory.path(), &["-v", name, "--endian", endian]);
        let case = text(&output.stderr);
        assert_eq!((text(&output.stdout).as_str(), output.status.code()), ("F", Some(0)), "{case}");
    }
    let output = myvmm(directory.path(), &["-v", "little.bin", "--endian", "big"]);
    assert_eq!(output.status.code(), Some(3));
}
