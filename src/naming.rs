//! What guest code and its addresses are called, and listings with these names. It must not know where blocks come from.

use std::sync::Arc;

use runtime::load::symbols::Symbols;
use runtime::program::Image;
use translator::addr::Va;
use translator::block::Block;
use translator::emit::Pins;
use translator::isa::text::Names;
use translator::listing::{Context, Facts, Listing};
use translator::mode::Mode;

/// The names of one guest.
#[derive(Clone, Debug)]
pub struct Naming {
    /// Names for addresses.
    pub symbols: Symbols,
    registers: Names,
    /// Those that its translations keep in host registers.
    pins: Pins,
    /// Whether `symbols` name what runs in user mode, too.
    names_users: bool,
    /// What says what its hypercalls are.
    program: Option<Arc<Image>>,
}

impl Naming {
    /// The names of a machine's kernel; nobody knows those of what it runs.
    pub fn of_kernel(symbols: Symbols) -> Self {
        Self { symbols, registers: Names::N64, pins: Pins::COMPILED, names_users: false, program: None }
    }

    /// The names of an ELF file.
    pub fn of_file(symbols: Symbols) -> Self {
        Self { names_users: true, ..Self::of_kernel(symbols) }
    }

    /// The names of a program: registers as MARS calls them.
    pub fn of_program(image: &Arc<Image>) -> Self {
        let (symbols, program) = (image.symbols(), Some(Arc::clone(image)));
        Self { symbols, registers: Names::O32, pins: image.pins(), names_users: true, program }
    }

    /// The same with the names of `symbols`, if there are any.
    pub fn or_given(self, symbols: Option<&Symbols>) -> Self {
        match symbols {
            Some(symbols) => Self { symbols: symbols.clone(), ..self },
            None => self,
        }
    }

    /// The name of `va` in `mode`.
    fn place(&self, va: Va, mode: Mode) -> Option<String> {
        let is_known = self.names_users || mode.is_kernel();
        is_known.then(|| self.symbols.function(va))?.map(|place| place.to_string())
    }

    /// The listing of `block`.
    pub fn listing(&self, block: &Block, facts: Option<Facts>) -> Listing {
        let symbol = |va, mode| self.place(va, mode);
        let request = |code| Some(self.program.as_ref()?.para(code)?.to_string());
        let context =
            Context { pins: self.pins, hypercall: &request, ..Context::new(self.registers, &symbol) };
        Listing::new(block, facts, context)
    }
}
