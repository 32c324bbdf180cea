//! Programs that move while they run: wherever that happens, and under whichever engines, they come to the same end.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use fuzzing::Numbers;
use runtime::migrate::{Connect, Departure, House, Outcome, Register, Stream, Terms};
use runtime::program::ProgramVm;
use runtime::program::moving::{Arriving, Leaving, Shape};
use runtime::vcpu::Engine;
use tempfile::TempDir;

use crate::harness::{ENGINES, Memory, assemble, run, setting};
use crate::snapshot::{assert_same, finish, options};
use crate::spim::generate;

struct Way(SocketAddr);

impl Connect for Way {
    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(TcpStream::connect(self.0)?))
    }
}

/// The program as it arrives at another end of a connection, under `engine`.
fn moved(mut vm: ProgramVm, engine: Engine, house: &House) -> ProgramVm {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let way: Arc<dyn Connect> = Arc::new(Way(listener.local_addr().unwrap()));
    thread::scope(|scope| {
        let target = scope.spawn(|| {
            let knock = house.greet(Box::new(listener.accept().unwrap().0)).unwrap().expect("a guest");
            let shape = Shape::decode(&knock.hello().shape).unwrap();
            let mut arriving = Arriving::new(shape, engine).unwrap();
            knock.welcome().receive(&mut arriving, |error| panic!("{error}")).unwrap();
            arriving.vms()
        });
        let departure = Departure::new(Terms::default(), Box::new(|_| ()));
        let outcome = departure.run(&mut Leaving::one(&mut vm, Vec::new()), &way);
        assert!(matches!(outcome, Outcome::Moved), "{outcome:?}");
        target.join().unwrap().pop().expect("it has not ended")
    })
}

fn check(seed: u64, house: &House) {
    let mut numbers = Numbers::new(seed);
    let options = options(&mut numbers);
    let directory = TempDir::new().unwrap();
    let program = generate::program(seed);
    let image = assemble("random.s", &program.text_in(directory.path()), options);
    let fresh = || Memory { input: program.input.clone().into(), output: Vec::new() };
    let expected = finish(ProgramVm::new(image.clone(), Engine::Interpreter).unwrap(), fresh());
    let length = expected.registers.instructions;
    let mut console = fresh();
    let mut vm = ProgramVm::new(image, numbers.one_of(&ENGINES)).unwrap();
    let mut at = 0;
    let mut case = format!("seed {seed}");
    for _ in 0..3 {
        at += numbers.below((length / 3).max(1));
        run(&mut vm, &mut console, 1 + numbers.below(50), at);
        if vm.end().is_some() {
            break;
        }
        let engine = numbers.one_of(&ENGINES);
        case += &format!(", moved after {at} of {length} to {engine:?}");
        vm = moved(vm, engine, house);
    }
    assert_same(&case, &finish(vm, console), &expected);
}

#[test]
fn a_move_anywhere_leads_to_the_same_end() {
    let directory = TempDir::new().unwrap();
    let register = Register::open(directory.path()).unwrap();
    let house = House { register, patience: Duration::from_secs(20), most_memory: 1 << 30 };
    (1..=setting("MYVMM_PROGRAM_MOVES", 30)).for_each(|seed| check(seed, &house));
}
