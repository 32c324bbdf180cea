//! Where things are: the sections with their addresses, which are those of MARS, and what has been put
//! at each. Knows sizes, not values: every address is final as soon as a statement has been read.

use serde::{Deserialize, Serialize};

use super::diagnostics::Problem;
use super::expression::Expr;
use super::instruction::Instruction;
use super::source::Span;
use crate::addr::Va;

/// Where `.text` starts.
pub const TEXT: Va = Va(0x0040_0000);
/// Where `.extern` and `.comm` data start.
pub const EXTERN: Va = Va(0x1000_0000);
/// Where `.data` starts.
pub const DATA: Va = Va(0x1001_0000);
/// Where the heap starts.
pub const HEAP: Va = Va(0x1004_0000);
/// What the global pointer is set to.
pub const GLOBAL_POINTER: Va = Va(0x1000_8000);
/// What MARS sets the stack pointer to.
pub const STACK_POINTER: Va = Va(0x7fff_effc);
/// The last word of the stack.
pub const STACK_TOP: Va = Va(0x7fff_fffc);
/// Where `.ktext` starts.
pub const KERNEL_TEXT: Va = Va(0xffff_ffff_8000_0000);
/// Where a program puts its exception handler.
pub const EXCEPTION_VECTOR: Va = Va(0xffff_ffff_8000_0180);
/// Where `.kdata` starts.
pub const KERNEL_DATA: Va = Va(0xffff_ffff_9000_0000);

/// The most bytes of a program.
const MAX_SIZE: u64 = 256 << 20;

/// A section.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Section {
    /// The program's instructions.
    Text,
    /// The program's data.
    Data,
    /// Data shared by name.
    Extern,
    /// The handler's instructions.
    KernelText,
    /// The handler's data.
    KernelData,
}

impl Section {
    /// The directive that selects it.
    pub fn name(self) -> &'static str {
        match self {
            Section::Text => ".text",
            Section::Data => ".data",
            Section::Extern => ".extern",
            Section::KernelText => ".ktext",
            Section::KernelData => ".kdata",
        }
    }

    /// Whether it is for instructions.
    pub fn is_code(self) -> bool {
        matches!(self, Section::Text | Section::KernelText)
    }

    fn base(self) -> u64 {
        let base = match self {
            Section::Text => TEXT,
            Section::Data => DATA,
            Section::Extern => EXTERN,
            Section::KernelText => KERNEL_TEXT,
            Section::KernelData => KERNEL_DATA,
        };
        base.0
    }
}

/// Addresses of the upper half of 32 bits are held sign-extended.
pub(super) fn canonical(address: i64) -> u64 {
    let is_upper_half = (0x8000_0000..=0xffff_ffff).contains(&address);
    if is_upper_half { address as i32 as i64 as u64 } else { address as u64 }
}

/// Something at an address.
#[derive(Debug)]
pub(super) enum Content {
    Instruction(Instruction),
    Bytes(Vec<u8>),
    /// So many equal integers of so many bytes; the value may depend on labels.
    Integers {
        size: u8,
        value: Expr,
        count: u64,
    },
    /// A byte, repeated.
    Fill(u8, u64),
}

impl Content {
    fn size(&self) -> u64 {
        match self {
            Content::Instruction(_) => 4,
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Integers { size, count, .. } => count.saturating_mul(u64::from(*size)),
            Content::Fill(_, count) => *count,
        }
    }
}

/// A content and where it is.
#[derive(Debug)]
pub(super) struct Item {
    pub address: u64,
    pub content: Content,
    pub span: Span,
}

/// Consecutive bytes of a section.
#[derive(Debug)]
pub(super) struct Chunk {
    pub section: Section,
    pub base: u64,
    pub size: u64,
    pub items: Vec<Item>,
    /// The statement that began it.
    pub span: Span,
}

/// Everything placed so far.
pub(super) struct Layout {
    /// All chunks, in the order of their beginning.
    pub chunks: Vec<Chunk>,
    current: usize,
    previous: usize,
    /// For each section in which there is one: the chunk that it goes on with.
    open: Vec<(Section, usize)>,
    total: u64,
}

impl Default for Layout {
    fn default() -> Self {
        let mut layout = Self { chunks: Vec::new(), current: 0, previous: 0, open: Vec::new(), total: 0 };
        layout.select(Section::Text, None, Span::default());
        layout
    }
}

impl Layout {
    /// Goes on in `section`: at `address`, or where it was left.
    pub fn select(&mut self, section: Section, address: Option<u64>, span: Span) {
        let known = self.open.iter().position(|(s, _)| *s == section);
        self.previous = self.current;
        if let (Some(known), None) = (known, address) {
            self.current = self.open[known].1;
            return;
        }
        let base = address.unwrap_or(section.base());
        self.chunks.push(Chunk { section, base, size: 0, items: Vec::new(), span });
        self.current = self.chunks.len() - 1;
        match known {
            Some(known) => self.open[known].1 = self.current,
            None => self.open.push((section, self.current)),
        }
    }

    /// Goes back to where the last change of section was made.
    pub fn select_previous(&mut self) {
        std::mem::swap(&mut self.current, &mut self.previous);
    }

    /// Goes on in `section` for a moment; [`Layout::leave`] takes what is returned.
    pub fn enter(&mut self, section: Section, span: Span) -> (usize, usize) {
        let back = (self.current, self.previous);
        self.select(section, None, span);
        back
    }

    /// Goes back to before [`Layout::enter`].
    pub fn leave(&mut self, (current, previous): (usize, usize)) {
        (self.current, self.previous) = (current, previous);
    }

    /// The section in use.
    pub fn section(&self) -> Section {
        self.chunks[self.current].section
    }

    /// The address of what comes next.
    pub fn here(&self) -> u64 {
        let chunk = &self.chunks[self.current];
        chunk.base.wrapping_add(chunk.size)
    }

    /// Puts something here.
    pub fn put(&mut self, content: Content, span: Span) -> Result<(), Problem> {
        let (address, size) = (self.here(), content.size());
        self.grow(size, span)?;
        let chunk = &mut self.chunks[self.current];
        chunk.items.push(Item { address, content, span });
        Ok(())
    }

    /// Leaves zero bytes.
    pub fn skip(&mut self, bytes: u64, span: Span) -> Result<(), Problem> {
        self.grow(bytes, span)
    }

    fn grow(&mut self, bytes: u64, span: Span) -> Result<(), Problem> {
        let chunk = &mut self.chunks[self.current];
        let fits = bytes <= MAX_SIZE && self.total + bytes <= MAX_SIZE;
        if !fits {
            let limit = MAX_SIZE >> 20;
            return Err(Problem::new(span, format!("the program is larger than {limit} MB")));
        }
        if chunk.base.checked_add(chunk.size + bytes).is_none() {
            return Err(Problem::new(span, format!("`{}` runs past the last address", chunk.section.name())));
        }
        chunk.size += bytes;
        self.total += bytes;
        Ok(())
    }

    /// Two chunks that share an address, the later one first.
    pub fn overlap(&self) -> Option<(&Chunk, &Chunk)> {
        let mut chunks: Vec<&Chunk> = self.chunks.iter().filter(|c| c.size > 0).collect();
        chunks.sort_by_key(|c| c.base);
        let pair = chunks.windows(2).find(|w| w[1].base - w[0].base < w[0].size)?;
        Some((pair[1], pair[0]))
    }
}
