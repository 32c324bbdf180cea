//! Programs that move while they run: wherever that happens, and under whichever engines, they come to the same end.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use fuzzing::Numbers;
use runtime::migrate::{Connect, Departure, House, Outcome, Register, Stream, Terms};
use runtime::pause::Pausable;
use runtime::program::ProgramVm;
use runtime::program::moving::{Arriving, Leaving, Shape, pausable};
use runtime::vcpu::Engine;
use tempfile::TempDir;

use crate::harness::{ENGINES, run, setting};
use crate::snapshot::{Sample, assert_same, finish};

struct Way(SocketAddr);

impl Connect for Way {
    fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(TcpStream::connect(self.0)?))
    }
}

/// The program as it arrives at another end of a connection, under `engine`.
fn moved(vm: &mut ProgramVm, engine: Engine, house: &House) -> Arc<Pausable<ProgramVm>> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let way: Arc<dyn Connect> = Arc::new(Way(listener.local_addr().unwrap()));
    thread::scope(|scope| {
        let target = scope.spawn(|| {
            let knock = house.greet(Box::new(listener.accept().unwrap().0)).unwrap().expect("a guest");
            let shape = Shape::decode(knock.hello()).unwrap();
            let (vms, mut arriving) = Arriving::new(shape, &engine.into()).unwrap();
            knock.welcome(None).receive(&mut arriving, |error| panic!("{error}")).unwrap();
            vms
        });
        let departure = Departure::new(Terms::default(), Box::new(|_| ()));
        let outcome = departure.run(&mut Leaving::one(vm, Vec::new()), &way);
        assert!(matches!(outcome, Outcome::Moved), "{outcome:?}");
        target.join().unwrap()
    })
}

fn check(seed: u64, house: &House) {
    let mut numbers = Numbers::new(seed);
    let sample = Sample::new(seed, &mut numbers);
    let (length, mut console) = (sample.length(), sample.console());
    let mut vms = pausable(vec![ProgramVm::new(sample.image.clone(), numbers.one_of(&ENGINES)).unwrap()]);
    let mut at = 0;
    let mut case = format!("seed {seed}");
    for _ in 0..3 {
        at += numbers.below((length / 3).max(1));
        let mut vm = vms.member(0);
        run(&mut vm, &mut console, 1 + numbers.below(50), at);
        if vm.end().is_some() {
            break;
        }
        let engine = numbers.one_of(&ENGINES);
        case += &format!(", moved after {at} of {length} to {engine:?}");
        let there = moved(&mut vm, engine, house);
        drop(vm);
        vms = there;
    }
    assert_same(&case, &finish(&mut vms.member(0), console), &sample.expected);
}

#[test]
fn a_move_anywhere_leads_to_the_same_end() {
    let directory = TempDir::new().unwrap();
    let register = Register::open(directory.path()).unwrap();
    let house = House { register, patience: Duration::from_secs(20), most_memory: 1 << 30, most_disk: 0 };
    (1..=setting("MYVMM_PROGRAM_MOVES", 30)).for_each(|seed| check(seed, &house));
}
