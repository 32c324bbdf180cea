//! Translations of blocks: `blocks/*.txt`. Each file has comments, the mode, the address if it matters, the guest code,
//! a line of dashes, and what the code becomes.

use std::path::Path;

use translator::addr::{PAGE_SIZE, Pa, Va};
use translator::asm::{Abi, Compat, Cpu, Options, Section, assemble};
use translator::block::{Block, Key};
use translator::isa::text::Names;
use translator::listing::{Context, Listing, Stage, text};
use translator::mode::Mode;
use translator::model::MIPS64R2;
use translator::nature::{Nature, Sites, Window};

const RULE: &str = "----\n";
/// Wider than any line, so that each instruction has its host code beside it.
const WIDTH: usize = 200;

#[test]
fn blocks_translate_as_written() {
    let mut files: Vec<_> = std::fs::read_dir(crate::folder().join("blocks"))
        .expect("the folder is there")
        .map(|entry| entry.expect("the folder can be read").path())
        .collect();
    files.sort();
    assert!(files.len() >= 25, "{} files", files.len());
    files.iter().for_each(|path| translate(path));
}

fn translate(path: &Path) {
    let file = std::fs::read_to_string(path).expect("the file can be read");
    let head = file.split(RULE).next().unwrap_or_default();
    let mode_words = head.lines().find_map(|line| line.strip_prefix("# mode: ")).unwrap_or("kernel");
    let (mode, section) = mode(mode_words);
    let block = decode(path, head, mode, section).patched(&sites(head));
    let symbol = |_, _| None;
    let listing = Listing::new(&block, None, Context::new(Names::N64, &symbol));
    crate::check(path, &format!("{}\n{RULE}{}", head.trim_end(), text(&listing, Stage::All, WIDTH)));
}

/// The mode with these names, and the section whose addresses are of its kind.
fn mode(words: &str) -> (Mode, Section) {
    let parts = words.split_whitespace().map(|word| match word {
        "kernel" => crate::KERNEL,
        "user" => crate::USER | Mode::MAPPED,
        "counted" => Mode::COUNTED,
        "profiled" => Mode::PROFILED,
        "alone" => Mode::ALONE,
        "narrow" => Mode::empty(),
        "big-endian" => Mode::BIG_ENDIAN,
        other => panic!("there is no mode {other}"),
    });
    let mut mode = parts.fold(Mode::empty(), Mode::union);
    mode.set(Mode::WIDE_ADDRESSES | Mode::WIDE_OPERATIONS, !words.contains("narrow"));
    let section = if mode.contains(Mode::USER) { Section::Text } else { Section::KernelText };
    (mode, section)
}

/// What the lines `# site: STEP NATURE` say that steps have shown to be.
fn sites(head: &str) -> Sites {
    let mut sites = Sites::default();
    for words in head.lines().filter_map(|line| line.strip_prefix("# site: ")) {
        let (step, nature) = words.split_once(' ').expect("a step and what it is");
        let address = |text: &str| {
            let digits = text.strip_prefix("0x").expect("addresses are hexadecimal");
            Va(u64::from_str_radix(digits, 16).expect("addresses have at most 64 bits"))
        };
        let nature = match nature.split_once(' ') {
            None if nature == "device" => Nature::Device,
            Some(("window", base)) => {
                Nature::Window(Window::new(address(base), Pa(0), 256 << 20).expect("RAM begins at 0"))
            }
            Some(("target", va)) => Nature::Target(address(va)),
            _ => panic!("there is no nature {nature}"),
        };
        sites.observe(step.parse().expect("steps are numbered"), nature);
    }
    sites
}

/// Assembles `code` and decodes the block that it begins with.
fn decode(path: &Path, code: &str, mode: Mode, section: Section) -> Block {
    let options = Options {
        cpu: Cpu::Mips64r2,
        delayed_branches: true,
        compat: Compat::Gas,
        abi: Abi::N64,
        ..Options::default()
    };
    let at = code.lines().find_map(|line| line.strip_prefix("# at: ")).unwrap_or_default();
    let source = format!("{} {at}\n.set noat\n.set noreorder\n{code}", section.name());
    let name = path.display().to_string();
    let program = assemble(&name, &[(name.as_str(), source.as_str())], &options);
    let program = program.unwrap_or_else(|errors| panic!("{errors}"));
    let segment = program.segments.iter().find(|s| s.section == section).expect("there is code");
    let words = segment.bytes.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().expect("four")));
    let words: Vec<u32> = words.collect();
    let (va, first) = (segment.base, (segment.base.page_offset() / 4) as usize);
    let key = Key::new(Va(va.0), Pa(PAGE_SIZE + va.page_offset()), mode);
    let word = |index: usize| words.get(index - first).copied().unwrap_or(0);
    Block::decode(key, Va(va.0), &MIPS64R2, word, Some(word((PAGE_SIZE / 4) as usize)))
}
