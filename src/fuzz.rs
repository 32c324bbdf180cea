//! Command lines of every kind: clap and the readers of options take them or refuse them with a sentence, and never
//! panic.

use clap::Parser as _;
use clap::error::ErrorKind;
use fuzzing::{Corpus, Numbers};

use crate::Cli;

/// Command lines, with their words on lines.
const EXAMPLES: [&str; 12] = [
    "-v\na.s\n-s\na.snap\n-v\nb.elf\n--slice\n1000\n--schedule\nslices\n--dump-format\njson",
    "-c\nprograms.conf\n--cpu\nmips64r2\n--endian\nbig\n--compat\nspim\n--engine\njit\n--prefix\n--name\ntwo",
    "run\n--mem\n512M\n--smp\n4\n--engine\ninterp\n--schedule\nslices=10000\n--append\nquiet x=1\n--kernel\nvmlinux",
    "run\n--net\nuser,hostfwd=tcp::2222-:22,hostfwd=udp:0.0.0.0:53-10.0.2.15:53,dns=9.9.9.9:53,mac=52:54:00:00:00:09\n--kernel\nk",
    "run\n--net\nsocket,listen=/tmp/s\n--net\ntap,name=vm0\n--net\nnone\n--disk\na,,b.img,ro=off,format=qcow2,snapshot=on\n--kernel\nk",
    "run\n--trace\npatch,block,exit,irq,tlb,exception=trace.txt\n--dump-hot\n10=hot.html\n--stats-file\ns.json\n--kernel\nk",
    "debian\n--run\nuname -a\n--persist\n--with\npython3-minimal\n--ssh=2222\n--cache\n/tmp/c\n--mirror\nhttp://x/",
    "dump\n--kernel\nvmlinux\n--range\n0xffffffff80100000..0xffffffff80100100\n--mode\nkernel\n--format\nhtml",
    "dump\na.s\n--address\n0x400000\n--stage\nhost",
    "control\nvm\nquery-status\nfile=a\ncount=3\nform={}",
    "snapshot\nvm\nfile.snap",
    "bench\n--rounds\n3\n--vs\nqemu,native\n--html\nr.html",
];

/// What means something in an option's value.
const WORDS: [&str; 24] = [
    ",",
    "=",
    ":",
    "-",
    "--",
    "..",
    "\n",
    ",,",
    "0",
    "-1",
    "1k",
    "0x",
    "65536",
    "18446744073709551615",
    "99999999999999999999",
    "255.255.255.255",
    "::",
    "\u{e9}",
    "\u{0}",
    " ",
    "\n--net\n",
    "\n--disk\n",
    "\n--mem\n",
    "\n--trace\n",
];

fn words(corpus: &Corpus, numbers: &mut Numbers) -> Vec<String> {
    let line = corpus.text(numbers);
    ["myvmm"].into_iter().chain(line.split('\n')).map(str::to_owned).collect()
}

#[test]
fn fuzz_command_line() {
    let corpus = Corpus::new(EXAMPLES).with_words(WORDS);
    fuzzing::run(|numbers| {
        let words = words(&corpus, numbers);
        if let Err(error) = Cli::try_parse_from(&words) {
            let is_help = matches!(
                error.kind(),
                ErrorKind::DisplayHelp
                    | ErrorKind::DisplayVersion
                    | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
            );
            assert!(is_help || error.to_string().starts_with("error: "), "{words:?}: {error}");
        }
    });
}

/// The examples are command lines, or nothing near them would be one.
#[test]
fn examples_are_command_lines() {
    for example in EXAMPLES {
        let words = ["myvmm"].into_iter().chain(example.split('\n'));
        if let Err(error) = Cli::try_parse_from(words) {
            panic!("{example}: {error}");
        }
    }
}
