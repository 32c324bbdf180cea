//! Which loads and stores of a block are near each other: at one register that does not change between
//! them, plus constants. The first of such a group looks up one page for all, if that is where all are;
//! the others take what it has found, or, if they are in more pages than one, look for themselves. It
//! must not know what a look-up is made of.
//!
//! What others change of a page waits until the vCPU is called out of generated code, between two blocks.
//! So only a stub of the block itself can change where a page is before the block ends: it ends all
//! groups. The slow path of an access may take an entry from the guest's TLB; where that must show, it
//! clears what is kept as well (`Vcpu::forget_entry`).

use crate::cpu::PAGE_SLOTS;
use crate::ir::{Home, Ir, Node, Route, Value};
use crate::machine::{Binary, Unary};

/// The most bytes that a group spans. The longer it is, the more often it is in two pages.
const MOST_BYTES: i32 = 512;

/// An access at a register plus a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Near {
    /// The node that reads the register.
    pub base: Value,
    /// What is added to it.
    pub offset: i32,
    /// Whether the address is that sum's low word, sign-extended.
    pub is_narrow: bool,
    /// Where the page is kept.
    pub slot: usize,
    /// What the first access of the group has to look up.
    pub span: Option<Span>,
}

/// The bytes of a group, from its register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Where the first byte is.
    pub low: i32,
    /// A place in the page of the last byte that is a multiple of `alignment` if all accesses are aligned.
    pub high: i32,
    /// The bytes of the widest access.
    pub alignment: i32,
}

/// The accesses of a block that are in groups of two or more, by the numbers of their nodes.
pub(super) struct Nearness(Vec<Option<Near>>);

impl Nearness {
    /// Works out the groups among the nodes of `ir` before number `end`.
    pub fn new(ir: &Ir, end: usize) -> Self {
        let near = vec![None; ir.nodes.len()];
        let mut finder = Finder { ir, near, open: Vec::new(), slots: 0, written: [0; 32] };
        for (index, node) in ir.nodes[..end].iter().enumerate() {
            match *node {
                Node::Load(_, _, Route::Window(_)) => {}
                Node::Load(access, address, route) => {
                    finder.access(index, address, access.bytes() as i32, route == Route::ForStore);
                }
                Node::Store(access, address, _) => {
                    finder.access(index, address, access.bytes() as i32, true);
                }
                Node::Write(Home::Gpr(register), _) => {
                    finder.written[register as usize & 31] = index;
                    finder.close(|group| group.register == register);
                }
                Node::Stub(..) => finder.close(|_| true),
                _ => {}
            }
        }
        finder.close(|_| true);
        Self(finder.near)
    }

    /// What node `index` is near to, if to anything.
    pub fn get(&self, index: usize) -> Option<Near> {
        self.0[index]
    }
}

struct Finder<'a> {
    ir: &'a Ir,
    near: Vec<Option<Near>>,
    open: Vec<Group>,
    /// How many groups have been found.
    slots: usize,
    /// The node that last wrote each register.
    written: [usize; 32],
}

/// A group that may get more members.
struct Group {
    register: u8,
    /// Whether its accesses go by the soft TLB's entries for stores.
    for_stores: bool,
    members: Vec<Member>,
}

#[derive(Clone, Copy)]
struct Member {
    index: usize,
    address: Sum,
    bytes: i32,
}

/// An address that is a register plus a constant.
#[derive(Clone, Copy)]
struct Sum {
    base: Value,
    register: u8,
    offset: i32,
    is_narrow: bool,
}

impl Finder<'_> {
    fn access(&mut self, index: usize, address: Value, bytes: i32, for_stores: bool) {
        let Some(address) = self.sum(address) else { return };
        let member = Member { index, address, bytes };
        let is_same = |group: &Group| group.register == address.register && group.for_stores == for_stores;
        if let Some(group) = self.open.iter_mut().find(|group| is_same(group)) {
            group.members.push(member);
            if group.span().is_some() {
                return;
            }
            group.members.pop();
        }
        self.close(is_same);
        self.open.push(Group { register: address.register, for_stores, members: vec![member] });
    }

    /// `address` as a register plus a constant, if it is one.
    fn sum(&self, address: Value) -> Option<Sum> {
        let node = |value: Value| self.ir.nodes[value.index()];
        let (sum, is_narrow) = match node(address) {
            Node::Unary(Unary::SignExtend32, sum) => (sum, true),
            _ => (address, false),
        };
        let (base, offset) = match node(sum) {
            Node::Binary(Binary::Add, base, offset) => match node(offset) {
                Node::Constant(offset) => (base, i16::try_from(offset as i64).ok()?),
                _ => return None,
            },
            _ => (sum, 0),
        };
        match node(base) {
            Node::Read(Home::Gpr(register)) if self.written[register as usize & 31] <= base.index() => {
                Some(Sum { base, register, offset: offset.into(), is_narrow })
            }
            _ => None,
        }
    }

    /// Ends the open groups that `ends` says, and gives those with more than one member a slot, as far as
    /// there are any.
    fn close(&mut self, ends: impl Fn(&Group) -> bool) {
        for group in self.open.extract_if(.., |group| ends(group)) {
            if group.members.len() < 2 || self.slots == PAGE_SLOTS {
                continue;
            }
            let mut span = group.span();
            for Member { index, address, .. } in group.members {
                let Sum { base, offset, is_narrow, .. } = address;
                self.near[index] =
                    Some(Near { base, offset, is_narrow, slot: self.slots, span: span.take() });
            }
            self.slots += 1;
        }
    }
}

impl Group {
    /// The bytes of all members, if one aligned address can stand for them.
    fn span(&self) -> Option<Span> {
        let widest = self.members.iter().max_by_key(|member| member.bytes)?;
        let (alignment, residue) = (widest.bytes, widest.address.offset);
        let is_aligned = |member: &Member| (member.address.offset - residue) % member.bytes == 0;
        let low = self.members.iter().map(|member| member.address.offset).min()?;
        let last = self.members.iter().map(|member| member.address.offset + member.bytes - 1).max()?;
        if last - low >= MOST_BYTES || !self.members.iter().all(is_aligned) {
            return None;
        }
        Some(Span { low, high: last - (last - residue).rem_euclid(alignment), alignment })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addr::{Pa, Va};
    use crate::block::{Block, Key};
    use crate::ir;
    use crate::mode::Mode;
    use crate::model::MIPS64R2;

    const MODE: Mode = Mode::WIDE_ADDRESSES.union(Mode::WIDE_OPERATIONS);

    fn access(opcode: u32, offset: i16) -> u32 {
        const SP: u32 = 29;
        opcode << 26 | SP << 21 | 2 << 16 | u32::from(offset as u16)
    }

    fn lb(offset: i16) -> u32 {
        access(0o40, offset)
    }

    fn lw(offset: i16) -> u32 {
        access(0o43, offset)
    }

    fn ld(offset: i16) -> u32 {
        access(0o67, offset)
    }

    fn sd(offset: i16) -> u32 {
        access(0o77, offset)
    }

    /// The slot and the span of each access of `words`, in order.
    fn nearness(words: &[u32]) -> Vec<Option<(usize, Option<Span>)>> {
        let key = Key::new(Va(0x1000), Pa(0x1000), MODE);
        let word = |index: usize| words.get(index).copied().unwrap_or(0x0000_000d);
        let ir = ir::build(&Block::decode(key, Va(0x1000), &MIPS64R2, word, None));
        let nearness = Nearness::new(&ir, ir.nodes.len());
        let accesses =
            (0..ir.nodes.len()).filter(|index| matches!(ir.nodes[*index], Node::Load(..) | Node::Store(..)));
        accesses.map(|index| nearness.get(index).map(|near| (near.slot, near.span))).collect()
    }

    const fn span(low: i32, high: i32, alignment: i32) -> Option<Span> {
        Some(Span { low, high, alignment })
    }

    #[test]
    fn the_first_of_a_group_looks_up_the_page_of_all() {
        assert_eq!(
            nearness(&[sd(8), sd(24), sd(-16)]),
            [Some((0, span(-16, 24, 8))), Some((0, None)), Some((0, None))]
        );
        // The last byte is in the doubleword at 16.
        assert_eq!(nearness(&[lb(19), ld(0)]), [Some((0, span(0, 16, 8))), Some((0, None))]);
        assert_eq!(nearness(&[lb(-5), lb(3)]), [Some((0, span(-5, 3, 1))), Some((0, None))]);
    }

    #[test]
    fn one_access_is_no_group() {
        assert_eq!(nearness(&[ld(0)]), [None]);
        assert_eq!(nearness(&[ld(0), sd(0)]), [None, None]);
    }

    #[test]
    fn a_group_is_aligned_as_one() {
        assert_eq!(nearness(&[ld(4), ld(12)]), [Some((0, span(4, 12, 8))), Some((0, None))]);
        // If one of these is aligned, the other is not.
        assert_eq!(nearness(&[ld(0), ld(4)]), [None, None]);
        assert_eq!(nearness(&[lw(2), ld(0)]), [None, None]);
    }

    #[test]
    fn a_group_is_short() {
        assert_eq!(nearness(&[ld(0), ld(504)]), [Some((0, span(0, 504, 8))), Some((0, None))]);
        assert_eq!(nearness(&[ld(0), ld(512)]), [None, None]);
    }

    #[test]
    fn a_new_value_of_the_register_or_a_stub_ends_a_group() {
        const ADDIU_SP: u32 = 0x27bd_fff0;
        const RDHWR_V0: u32 = 0x7c02_183b;
        for end in [ADDIU_SP, RDHWR_V0] {
            let near = nearness(&[ld(0), ld(8), end, ld(0), ld(8), ld(16)]);
            assert_eq!(
                near.iter().map(|near| near.map(|(slot, _)| slot)).collect::<Vec<_>>(),
                [Some(0), Some(0), Some(1), Some(1), Some(1)]
            );
            assert_eq!(nearness(&[ld(0), end, ld(8)]), [None, None]);
        }
    }
}
