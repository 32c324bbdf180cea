use std::thread;
use std::time::Instant;

use translator::cp0::Cause;
use translator::model::MIPS64R2;

use super::*;
use crate::bus::Bus;
use crate::device::Window;

const CODE: u64 = 0xffff_ffff_8000_1000;
/// Where guests write what a test looks at.
const NOTE: Pa = Pa(0x2000);
const ENGINES: [Engine; 3] = [Engine::Interpreter, Engine::Jit, Engine::Auto];
/// Much more than anything here takes on a slow and busy host.
const PATIENCE: Duration = Duration::from_secs(20);

/// A machine with two vCPUs, of which the first runs `code` with $t1 at [`NOTE`].
fn machine(code: &[u32]) -> Handle {
    let ram = Arc::new(Ram::new(&[Window { base: Pa(0), size: 1 << 20 }]).unwrap());
    for (index, word) in code.iter().enumerate() {
        ram.write(Pa(0x1000 + 4 * index as u64), &word.to_le_bytes()).unwrap();
    }
    let machine =
        Machine::new(&MIPS64R2, Mode::empty(), ram, Bus::new(), Control::new(2), Clock::Host).unwrap();
    let handle = Handle::new(machine);
    let mut first = handle.vcpus.member(0);
    first.cpu.pc = CODE;
    first.cpu.gpr[9] = 0xffff_ffff_8000_0000 + NOTE.0;
    first.set_cp0(Cp0::Status, (Status::KX | Status::SX | Status::UX).bits());
    drop(first);
    handle
}

/// Ends the machine, also when a test fails: nobody would join its threads.
struct Quit<'a>(&'a Handle);

impl Drop for Quit<'_> {
    fn drop(&mut self) {
        self.0.quit();
    }
}

fn running(handle: &Handle, engine: Engine, body: impl FnOnce()) {
    thread::scope(|scope| {
        let _quit = Quit(handle);
        scope.spawn(|| {
            let vcpus = Arc::clone(&handle.vcpus);
            let snapshots =
                Snapshots::new(Arc::clone(&handle.machine), Arc::clone(&vcpus), Vec::new(), Vec::new());
            let requests = Arc::new(Requests::new(snapshots, None));
            drive::threads(&handle.machine.control, vcpus, engine, requests).unwrap();
        });
        body();
    });
}

fn note(handle: &Handle) -> u64 {
    handle.machine.ram.load(NOTE, 4).unwrap()
}

fn wait(what: &str, done: impl Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// `loop: mfc0 $t0, Count; sw $t0, 0($t1); addiu $t2, 1; b loop; nop`
const COUNTING: [u32; 5] = [0x4008_4800, 0xad28_0000, 0x254a_0001, 0x1000_fffc, 0];

/// `loop: wait; mfc0 $t3, Cause; srl $t3, $t3, 30; beqz $t3, loop; nop; sw $t2, 0($t1); b .; nop`: anything
/// may end WAIT, so it looks for the timer's interrupt (Cause.TI).
const WAITING: [u32; 8] =
    [0x4200_0020, 0x400b_6800, 0x000b_5f82, 0x1160_fffc, 0, 0xad2a_0000, 0x1000_ffff, 0];

#[test]
fn a_paused_machine_stands_still_with_its_clock() {
    for engine in ENGINES {
        let handle = machine(&COUNTING);
        running(&handle, engine, || {
            for _ in 0..20 {
                let before = note(&handle);
                wait("the guest runs", || note(&handle) != before);
                assert!(handle.pause() && !handle.pause());
                let look = || (note(&handle), handle.hold().member(0).cpu.gpr, handle.run_time());
                let stands = look();
                thread::sleep(Duration::from_millis(1));
                assert_eq!(look(), stands, "{engine:?}");
                assert!(handle.resume() && !handle.resume());
            }
        });
        assert_eq!(handle.ending(), Some(Ending::Quit));
    }
}

#[test]
fn a_timer_waits_for_the_end_of_a_pause() {
    const TICKS: u64 = 3_000_000;
    for engine in ENGINES {
        let handle = machine(&WAITING);
        handle.pause();
        {
            let mut vcpu = handle.vcpus.member(0);
            vcpu.cpu.gpr[10] = 1;
            let unmasked = Status::KX.bits() | Cause::IP7.bits();
            vcpu.set_cp0(Cp0::Status, unmasked);
            vcpu.set_timer(TICKS as u32);
        }
        running(&handle, engine, || {
            thread::sleep(Duration::from_millis(40));
            assert_eq!(note(&handle), 0, "{engine:?}: the timer was due within the pause");
            handle.resume();
            wait("the timer wakes the guest", || note(&handle) == 1);
            assert!(handle.machine.host_ticks() >= TICKS);
        });
    }
}

#[test]
fn a_paused_machine_can_be_reset() {
    let handle = machine(&COUNTING);
    running(&handle, Engine::Auto, || {
        handle.pause();
        handle.reset();
    });
    assert_eq!(handle.ending(), Some(Ending::HostReset));
}
