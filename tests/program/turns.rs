//! Many machines in turns: the same results whatever the slice is.

use runtime::schedule;
use runtime::vcpu::Engine;

use crate::harness::{ending, run, setting};
use crate::players::{Player, players};

fn results(players: &[Player]) -> Vec<(String, String, u64)> {
    let result = |player: &Player| {
        let output = String::from_utf8_lossy(&player.console.output).into_owned();
        (output, ending(&player.vm), player.vm.retired())
    };
    players.iter().map(result).collect()
}

#[test]
fn a_hundred_machines_agree_whatever_the_slice() {
    let count = setting("MYVMM_PROGRAM_MACHINES", 100) as usize;
    let mut alone = players(count, Engine::Jit);
    alone.iter_mut().for_each(|player| run(&mut player.vm, &mut player.console, u64::MAX, u64::MAX));
    let expected = results(&alone);
    assert!(expected.iter().all(|(_, end, ran)| end == "returned" && *ran > 1_000_000), "{:?}", expected[0]);
    for slice in [100, 100_000] {
        let mut turns = players(count, Engine::Jit);
        schedule::slices(&mut turns, slice);
        assert_eq!(results(&turns), expected, "slices of {slice}");
    }
    let mut threads = players(count.min(8), Engine::Jit);
    schedule::threads(&mut threads, 100_000).unwrap();
    assert_eq!(results(&threads), expected[..threads.len()]);
}
