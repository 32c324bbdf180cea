//! Random programs made from the instruction table, run in several ways that must agree: by each
//! engine in each configuration, in user and in kernel mode, and by QEMU's user-mode emulation. And
//! single instructions, run to see whether the table tells the truth about their operands (`roles`).
//!
//! A difference is reported with the seed, the smallest program found that still shows it, and both
//! register files. Two variables of the environment steer a run:
//!
//! - `MYVMM_DIFF_INSTRUCTIONS`: how many instructions each test runs at least (default 200000).
//! - `MYVMM_DIFF_SEED`: the seed of the first program (default 1); a reported seed comes back with
//!   `MYVMM_DIFF_SEED=<seed> MYVMM_DIFF_INSTRUCTIONS=1`.

mod assemble;
mod bare;
mod exclusion;
mod generate;
mod image;
mod linux;
#[expect(dead_code, reason = "another test's module, of which this one needs a part")]
#[path = "../../translator/tests/float/operands.rs"]
mod operands;
mod program;
mod qemu;
mod roles;
mod shrink;
mod state;

use std::collections::BTreeMap;

use bare::{Bare, Privilege, Setup};
use exclusion::World;
use generate::Menu;
use image::{Place, SLOTS};
use program::Program;
use runtime::vcpu::Engine;
use state::{End, State};
use translator::mode::Mode;

const COUNTING_JIT: Setup =
    Setup { name: "JIT, counting", engine: Engine::Jit, grant: 1 << 17, mode: Mode::COUNTED };

/// The ways to run programs here. The first is what the others are compared with.
const SETUPS: &[Setup] = &[
    Setup { name: "interpreter", engine: Engine::Interpreter, grant: 1 << 17, mode: Mode::empty() },
    Setup { name: "JIT", engine: Engine::Jit, grant: 1 << 40, mode: Mode::empty() },
    COUNTING_JIT,
    Setup { name: "interpreter, 1 at a time", engine: Engine::Interpreter, grant: 1, mode: Mode::empty() },
    Setup { name: "interpreter, 7 at a time", engine: Engine::Interpreter, grant: 7, mode: Mode::empty() },
    Setup { name: "JIT, 1 at a time", engine: Engine::Jit, grant: 1, mode: Mode::COUNTED },
    Setup { name: "JIT, 7 at a time", engine: Engine::Jit, grant: 7, mode: Mode::COUNTED.union(Mode::ALONE) },
    Setup { name: "JIT without links", engine: Engine::Blocks, grant: 1 << 40, mode: Mode::empty() },
    Setup { name: "both in turn", engine: Engine::Auto, grant: 1 << 40, mode: Mode::empty() },
];

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")),
        Err(_) => default,
    }
}

/// One way to run programs, with what each leaves.
type Run<'a> = (&'a str, &'a dyn Fn(&[Program]) -> Vec<State>);

fn run_here(setup: Setup, privilege: Privilege, programs: &[Program]) -> Vec<State> {
    let mut bare = Bare::new(setup, privilege, programs);
    (0..programs.len()).map(|slot| bare.run(slot)).collect()
}

/// Runs programs of `world` in both ways until enough instructions have run by the first.
fn compare(world: World, privilege: Privilege, [first, second]: [Run<'_>; 2]) {
    let wanted = setting("MYVMM_DIFF_INSTRUCTIONS", 200_000);
    let mut seed = setting("MYVMM_DIFF_SEED", 1);
    let menu = Menu::new(world);
    let (mut instructions, mut programs) = (0, 0);
    let mut ends = BTreeMap::<String, u32>::new();
    while instructions < wanted {
        let slots = if wanted == 1 { 1 } else { SLOTS };
        let batch: Vec<Program> = (0..slots as u64).map(|index| menu.program(seed + index)).collect();
        let ours = agree(&batch, privilege, [first, second]);
        for state in &ours {
            *ends.entry(state.end.to_string()).or_default() += 1;
        }
        instructions += ours.iter().filter_map(|state| state.ran).sum::<u64>();
        programs += slots;
        seed += slots as u64;
    }
    println!("{}: {instructions} instructions of {programs} programs agree with {}", first.0, second.0);
    println!("  ends: {ends:?}");
}

/// Runs `batch` in both ways, and gives what the first leaves; a difference is reported. A program that runs on and on is
/// left at some point, in each way at another, and so are registers that the next one may find: those after it begin anew.
fn agree(batch: &[Program], privilege: Privilege, [first, second]: [Run<'_>; 2]) -> Vec<State> {
    if batch.is_empty() {
        return Vec::new();
    }
    let (mut ours, theirs) = (first.1(batch), second.1(batch));
    for (slot, theirs) in theirs.iter().enumerate() {
        if !ours[slot].agrees(theirs) {
            println!("{}", ours[slot].difference(theirs));
            report(&batch[..slot], &batch[slot], privilege, [first, second]);
        }
        if ours[slot].end == End::Never {
            ours.truncate(slot + 1);
            ours.extend(agree(&batch[slot + 1..], privilege, [first, second]));
            break;
        }
    }
    ours
}

/// Shrinks the failing program, and what ran before it, and panics with what is left.
fn report(before: &[Program], program: &Program, privilege: Privilege, [first, second]: [Run<'_>; 2]) -> ! {
    let last = |run: Run<'_>, before: &[Program], program: &Program| {
        let batch: Vec<Program> = before.iter().chain([program]).cloned().collect();
        run.1(&batch).pop().expect("one state a program")
    };
    let both =
        |before: &[Program], program: &Program| (last(first, before, program), last(second, before, program));
    let fails = |before: &[Program], program: &Program| {
        let (ours, theirs) = both(before, program);
        !ours.agrees(&theirs)
    };
    let contexts = [&[][..], &before[before.len().saturating_sub(1)..], before];
    let context = contexts.into_iter().find(|context| fails(context, program)).unwrap_or(before);
    let smallest = shrink::shrink(program, |program| fails(context, program));
    let (ours, theirs) = both(context, &smallest);
    let place = Place { base: privilege.base(), slot: context.len() };
    let earlier: String = context.iter().map(|p| format!("after seed {}\n", p.seed)).collect();
    panic!(
        "seed {}: {} and {} differ\n{earlier}{}{}\n{}\ninitially\n{:x?}\nhi {:x}, lo {:x}, fcsr {:x}\n",
        program.seed,
        first.0,
        second.0,
        smallest.listing(place.body(&smallest)),
        ours.difference(&theirs),
        ours.side_by_side(&theirs),
        smallest.registers(place.middle_of_data()),
        smallest.hi,
        smallest.lo,
        smallest.fcsr,
    );
}

fn compare_engines(world: World, privilege: Privilege) {
    let run = |setup: &'static Setup| move |programs: &[Program]| run_here(*setup, privilege, programs);
    let reference = run(&SETUPS[0]);
    for setup in &SETUPS[1..] {
        compare(world, privilege, [(SETUPS[0].name, &reference), (setup.name, &run(setup))]);
    }
}

#[test]
fn engines_agree_in_user_mode() {
    compare_engines(World::User, Privilege::User);
}

#[test]
fn engines_agree_in_kernel_mode() {
    compare_engines(World::Kernel, Privilege::Kernel);
}

fn compare_with_qemu(setup: Setup) {
    let comparable = |states: Vec<State>| states.into_iter().map(linux::comparable).collect();
    let ours = |programs: &[Program]| comparable(run_here(setup, Privilege::User, programs));
    let theirs = |programs: &[Program]| comparable(qemu::run(programs));
    compare(World::Linux, Privilege::User, [(setup.name, &ours), ("QEMU", &theirs)]);
}

#[test]
fn interpreter_agrees_with_qemu() {
    compare_with_qemu(SETUPS[0]);
}

#[test]
fn jit_agrees_with_qemu() {
    compare_with_qemu(COUNTING_JIT);
}

/// Programs of any seeds by any two setups, in either mode.
#[test]
fn fuzz_blocks() {
    let menus = [(World::User, Privilege::User), (World::Kernel, Privilege::Kernel)];
    let menus = menus.map(|(world, privilege)| (Menu::new(world), privilege));
    fuzzing::run(|numbers| {
        let (menu, privilege) = &menus[numbers.index(menus.len())];
        let [first, second] = [numbers.one_of(SETUPS), numbers.one_of(SETUPS)];
        let batch: Vec<_> = (0..=numbers.index(64)).map(|_| menu.program(numbers.next())).collect();
        let run = |setup: Setup| move |programs: &[Program]| run_here(setup, *privilege, programs);
        agree(&batch, *privilege, [(first.name, &run(first)), (second.name, &run(second))]);
    });
}
