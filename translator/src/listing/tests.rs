//! What a listing says of a small block, in each form.

use super::*;
use crate::addr::Pa;
use crate::block::Key;
use crate::model::MIPS64R2;

const KERNEL: Mode = Mode::WIDE_ADDRESSES.union(Mode::WIDE_OPERATIONS).union(Mode::CP0_USABLE);
/// `lw $4, 16($29)`, `mfc0 $8, $12`, `ei $2`, `bnez $4, .`, `addiu $29, $29, -16`.
const WORDS: [u32; 5] = [0x8fa4_0010, 0x4008_6000, 0x4162_6020, 0x1480_ffff, 0x27bd_fff0];

fn listing(mode: Mode) -> Listing {
    let key = Key::new(Va(0xffff_ffff_8000_1000), Pa(0x1000), mode);
    let words = |index: usize| WORDS.get(index).copied().unwrap_or(0);
    let block = Block::decode(key, Va(0xffff_ffff_8000_1000), &MIPS64R2, words, None);
    let symbol = |va: Va, _| (va.page_offset() == 0).then(|| "start<here>".to_owned());
    Listing::new(&block, None, Context::new(Names::N64, &symbol))
}

#[test]
fn host_code_has_the_names_of_what_it_touches() {
    let listing = listing(KERNEL);
    let host = |lines: &[HostLine]| lines.iter().map(|line| line.text.clone()).collect::<Vec<_>>().join("\n");
    let load = host(&listing.lines[0].host);
    assert!(load.contains("r12/*sp*/") && load.contains("rdi/*a0*/"), "{load}");
    assert!(load.contains("[soft_tlb+rax+load.tag]"), "{load}");
    let slow = host(&listing.lines[0].slow);
    assert!(slow.contains("stub.Load") && slow.contains("[cpu.place]"), "{slow}");
    assert!(host(&listing.lines[1].host).contains("[cpu.cp0[Status]]"));
    assert!(host(&listing.lines[1].host).contains("[cpu.gpr[a4]]"));
    let links: Vec<_> = listing.ways_out.iter().filter(|way| way.is_link).collect();
    assert_eq!(links.len(), 2);
}

#[test]
fn a_listing_can_be_read_from_what_it_is_written_as() {
    let own = listing(KERNEL);
    let json = Listing::json(std::slice::from_ref(&own));
    let read: Vec<Listing> = serde_json::from_str(&json).expect("it is whole");
    assert_eq!(Listing::json(&read), json);
    assert_eq!(text(&read[0], Stage::All, 160), text(&own, Stage::All, 160));
    assert!(serde_json::from_str::<Vec<Listing>>(&json.replace("\"0x1000\"", "\"1000\"")).is_err());
}

#[test]
fn every_byte_is_listed_once() {
    let profiled = listing(KERNEL | Mode::COUNTED | Mode::PROFILED);
    let lines = profiled.lines.iter();
    let in_lines: usize = lines.map(|line| line.host.len() + line.slow.len()).sum();
    let in_links: usize = profiled.ways_out.iter().map(|way| way.host.len()).sum();
    let rest = [&profiled.entry, &profiled.last.host, &profiled.over_budget, &profiled.stale];
    let in_rest: usize = rest.iter().map(|lines| lines.len()).sum();
    assert_eq!(in_lines + in_links + in_rest, profiled.sizes.host_instructions);
    assert!(profiled.entry[1].text.contains("counter"), "{:?}", profiled.entry);
}

#[test]
fn plans_say_what_and_why() {
    let listing = listing(KERNEL);
    let kinds: Vec<_> = listing.lines.iter().map(|line| line.plan.kind.as_ref()).collect();
    assert_eq!(kinds, ["kept", "one to one", "one to many", "kept", "kept"]);
    assert_eq!(listing.lines[2].plan.actions, ["field", "interrupts"]);
    assert!(listing.lines[4].in_slot);
}

#[test]
fn all_forms_have_all_instructions() {
    let listing = listing(KERNEL);
    let wide = text(&listing, Stage::All, 160);
    let narrow = text(&listing, Stage::All, 80);
    let json = Listing::json(std::slice::from_ref(&listing));
    let page = html("a & b", std::slice::from_ref(&listing), Stage::All);
    for line in &listing.lines {
        for form in [&wide, &narrow, &json, &page] {
            assert!(form.contains(&line.text), "{form}");
        }
    }
    assert!(page.contains("start&lt;here&gt;") && page.contains("a &amp; b") && !page.contains("<script"));
    assert!(json.contains("\"address\": \"0xffffffff80001000\""), "{json}");
    assert!(narrow.lines().count() > wide.lines().count());
}
