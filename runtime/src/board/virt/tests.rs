//! Tests of the `virt` board: the device tree as other programs read it, and that it agrees with the
//! bus.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;
use crate::board::fdt::{self, Chosen};
use crate::device::Size as Width;

struct Silent;

impl PowerControl for Silent {
    fn power_off(&self) {}
    fn reset(&self) {}
}

impl VcpuPins for Silent {
    fn set(&self, _vcpu: usize, _pin: u32, _level: bool) {}
}

impl VcpuPower for Silent {
    fn start(&self, _vcpu: usize, _reset_base: u64) {}
    fn stop(&self, _vcpu: usize) {}
}

fn board(ram: u64, vcpus: usize, virtio: usize) -> Board {
    let make = |_| -> MakeVirtio { Box::new(|_line: IrqLine| Arc::new(Mutex::new(Rom::new(Vec::new())))) };
    let host = Host {
        serial_output: Box::new(std::io::sink()),
        clock: Box::new(|| 42),
        power: Arc::new(Silent),
        pins: Arc::new(Silent),
        vcpu_power: Arc::new(Silent),
        rom: vec![1, 2, 3, 4],
        virtio: (0..virtio).map(make).collect(),
    };
    Board::new(ram, vcpus, host).unwrap()
}

fn chosen() -> Chosen {
    Chosen {
        command_line: "console=ttyS0 ro".to_owned(),
        initrd: Some(Pa(0xe00_0000)..Pa(0xf00_0000)),
        seed: Some([7; 32]),
    }
}

/// The tree as source text.
fn decompile(tree: &[u8]) -> String {
    let mut command = Command::new("dtc");
    command.args(["-I", "dtb", "-O", "dts"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut dtc = command.stderr(Stdio::null()).spawn().expect("dtc runs: install device-tree-compiler");
    dtc.stdin.take().unwrap().write_all(tree).unwrap();
    let output = dtc.wait_with_output().unwrap();
    assert!(output.status.success(), "dtc refuses the tree");
    String::from_utf8(output.stdout).unwrap()
}

/// What is between the braces of the node whose line begins with `name`.
fn node<'a>(source: &'a str, name: &str) -> &'a str {
    let start = source.find(&format!("{name} {{")).unwrap_or_else(|| panic!("no {name} in\n{source}"));
    let rest = &source[start..];
    &rest[..rest.find("};").unwrap()]
}

#[test]
fn dtc_reads_what_the_kernel_needs() {
    let tree = fdt::build(&board(512 << 20, 2, 1).plan, &chosen()).unwrap();
    let source = decompile(&tree);
    let expect = |name: &str, lines: &[&str]| {
        let node = node(&source, name);
        for line in lines {
            assert!(node.contains(line), "{line} is not in {node}");
        }
    };
    expect("memory@0", &["device_type = \"memory\"", "reg = <0x00 0x00 0x00 0x10000000>"]);
    expect("memory@20000000", &["reg = <0x00 0x20000000 0x00 0x10000000>"]);
    let initrd = ["linux,initrd-start = <0x00 0xe000000>", "linux,initrd-end = <0x00 0xf000000>"];
    expect("chosen", &initrd);
    expect("chosen", &["bootargs = \"console=ttyS0 ro\"", "stdout-path = \"/serial@10000000\""]);
    expect("cpu@1", &["device_type = \"cpu\"", "reg = <0x01>", "clocks = <0x01>"]);
    expect("cpu-clock", &["phandle = <0x01>", "clock-frequency = <0xbebc200>", "#clock-cells = <0x00>"]);
    expect("serial@10000000", &["compatible = \"ns16550a\"", "interrupts = <0x00 0x00 0x04>"]);
    expect("rtc@10001000", &["compatible = \"google,goldfish-rtc\"", "interrupts = <0x00 0x01 0x04>"]);
    expect("virtio@10010000", &["compatible = \"virtio,mmio\"", "interrupts = <0x00 0x02 0x04>"]);
    let gic = ["mti,reserved-cpu-vectors = <0x07>", "#interrupt-cells = <0x03>", "interrupt-controller;"];
    expect("interrupt-controller@1bdc0000", &gic);
    expect("syscon-reboot", &["regmap = <0x02>", "offset = <0x04>", "value = <0x01>"]);
    expect("power@10002000", &["phandle = <0x02>", "compatible = \"syscon\""]);
    assert!(source.contains("interrupt-parent = <0x03>"));
    assert!(!source.contains("gic-timer") && !source.contains("cpu-interrupt-controller"));
}

#[test]
fn every_address_in_the_tree_is_the_bus_s() {
    let board = board(64 << 20, 16, 20);
    let tree = fdt::build(&board.plan, &chosen()).unwrap();
    let source = decompile(&tree);
    let mut found = 0;
    for (path, window) in board.bus.windows().filter(|(path, _)| path.starts_with('/')) {
        let expected = format!("reg = <0x00 {:#04x} 0x00 {:#04x}>", window.base.0, window.size);
        let node = node(&source, &path[1..]);
        assert!(node.contains(&expected), "{expected} is not in {node}");
        found += 1;
    }
    // Only memory and CPUs have addresses and are not on the bus.
    let registers = source.matches("reg = <").count();
    assert_eq!(registers, found + board.plan.ram.len() + 16);
}

#[test]
fn the_bus_reaches_each_device() {
    let board = board(64 << 20, 2, 0);
    let word = |pa| board.bus.read(Pa(pa), Width::Word, 1).unwrap();
    assert_eq!(board.bus.read(SERIAL.base + 5, Width::Byte, 0).unwrap(), 0x60);
    assert_eq!(word(CLOCK.base.0), 42);
    assert_eq!(word(POWER.base.0), 0);
    assert_eq!(word(CM.base.0 + 0x30), 0x0700);
    assert_eq!(word(CM.base.0 + 0x2028), 1);
    assert_eq!(word(GIC.base.0 + 0x8088), 1);
    assert_eq!(word(L2_SYNC.base.0), 0);
    assert_eq!(word(ROM.base.0), 0x0403_0201);
    assert!(board.bus.read(VIRTIO_BASE, Width::Word, 0).is_err());
}

#[test]
fn serial_input_reaches_the_interrupt_controller() {
    let board = board(64 << 20, 1, 0);
    board.bus.write(SERIAL.base + 1, Width::Byte, 0, 1).unwrap();
    // The guest requests to be sent something.
    board.bus.write(SERIAL.base + 4, Width::Byte, 0, 2).unwrap();
    board.serial_input.push(b"x").unwrap();
    assert_eq!(board.bus.read(GIC.base + 0x480, Width::Word, 0).unwrap(), 1);
}

#[test]
fn ram_lies_around_the_devices() {
    let bank = |base, size| Window { base: Pa(base), size };
    assert_eq!(ram(16 << 20), [bank(0, 16 << 20)]);
    assert_eq!(ram(256 << 20), [bank(0, 256 << 20)]);
    assert_eq!(ram(4 << 30), [bank(0, 256 << 20), bank(0x2000_0000, (4 << 30) - (256 << 20))]);
    let board = board(4 << 30, 1, 3);
    for (name, window) in board.bus.windows() {
        assert!(board.plan.ram.iter().all(|bank| !bank.overlaps(window)), "{name} is in RAM");
    }
}

#[test]
fn impossible_sizes_are_refused() {
    let plan = |ram, vcpus, virtio| plan(Size { ram, vcpus, virtio });
    assert!(matches!(plan(1 << 26, 0, 0), Err(BoardError::Vcpus(0))));
    assert!(matches!(plan(1 << 26, 17, 0), Err(BoardError::Vcpus(17))));
    assert!(matches!(plan(0, 1, 0), Err(BoardError::Ram(0))));
    assert!(matches!(plan((1 << 26) + 1, 1, 0), Err(BoardError::Ram(_))));
    assert!(matches!(plan(1 << 40, 1, 0), Err(BoardError::Ram(_))));
    assert!(matches!(plan(1 << 26, 16, 300), Err(BoardError::Interrupts(300))));
    assert!(plan(1 << 26, 16, 200).is_ok());
}

#[test]
fn a_large_machine_s_tree_is_small() {
    let tree = fdt::build(&board(4 << 30, 16, 32).plan, &chosen()).unwrap();
    assert!(tree.len() < 16 * 1024, "{} bytes", tree.len());
    assert!(
        fdt::build(&board(4 << 30, 1, 0).plan, &Chosen { command_line: "a\0b".into(), ..chosen() }).is_err()
    );
}
