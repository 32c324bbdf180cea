//! What a site has shown to be while it ran: an instruction that is innocuous in itself, but that can be
//! patched to something faster once it is known what it does. It must not know who looks, nor what is
//! emitted.

use std::fmt;

use crate::addr::{Pa, Va};

/// A run of addresses that are RAM at a constant distance, whatever the TLB holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Window {
    base: u64,
    physical: u32,
    size: u32,
}

impl Window {
    /// The window of `size` bytes at `base`, whose first byte is at `physical`. Host instructions hold
    /// both as signed 32-bit numbers, so a longer window is cut short, and one that lies too high is none.
    pub fn new(base: Va, physical: Pa, size: u64) -> Option<Window> {
        const MOST: u64 = i32::MAX as u64 & !0xfff;
        let physical = u32::try_from(physical.0).ok().filter(|at| u64::from(*at) <= MOST)?;
        Some(Window { base: base.0, physical, size: size.min(MOST) as u32 })
    }

    /// The virtual address of the first byte.
    pub const fn base(self) -> u64 {
        self.base
    }

    /// The physical address of the first byte: at most [`i32::MAX`].
    pub const fn physical(self) -> i32 {
        self.physical as i32
    }

    /// The number of bytes: at most [`i32::MAX`].
    pub const fn size(self) -> i32 {
        self.size as i32
    }
}

/// What a site has shown to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Nature {
    /// Nothing that helps.
    Plain,
    /// A load or store that met a device.
    Device,
    /// A load from RAM in a segment that no TLB maps.
    Window(Window),
    /// A jump by register to this address.
    Target(Va),
}

impl Nature {
    /// A jump by register to `va`; `None` if host instructions cannot compare with that.
    pub fn of_target(va: Va) -> Option<Nature> {
        i32::try_from(va.0 as i64).is_ok().then_some(Nature::Target(va))
    }

    /// The name that statistics show.
    pub const fn name(self) -> &'static str {
        match self {
            Nature::Plain => "plain",
            Nature::Device => "device",
            Nature::Window(_) => "unmapped RAM",
            Nature::Target(_) => "one target",
        }
    }
}

impl fmt::Display for Nature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Nature::Window(window) => {
                let end = window.base.wrapping_add(u64::from(window.size) - 1);
                write!(f, "{} at {:#x}..={end:#x}", self.name(), window.base)
            }
            Nature::Target(va) => write!(f, "{} {va}", self.name()),
            _ => f.write_str(self.name()),
        }
    }
}

/// What happened to the code of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It was patched to what it has shown to be.
    Patched,
    /// It was patched again, to something else.
    Repatched,
    /// It was patched back, because a guard failed.
    Undone,
}

impl Change {
    /// The name that statistics and traces show.
    pub const fn name(self) -> &'static str {
        match self {
            Change::Patched => "patched",
            Change::Repatched => "re-patched",
            Change::Undone => "patched back",
        }
    }
}

/// How often the nature of a site may change. Each change costs a translation of its block, so a site
/// that is now this and now that stays plain.
const MOST_CHANGES: u8 = 4;

/// One site of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// The step that it is.
    pub step: u8,
    /// What it has shown to be.
    pub nature: Nature,
    /// Whether a translation ever had it other than plain.
    pub was_patched: bool,
    changes: u8,
    /// Whether the last change is in a translation.
    applied: bool,
}

impl Site {
    const fn new(step: u8, nature: Nature) -> Site {
        Site { step, nature, was_patched: false, changes: 0, applied: false }
    }
}

/// What the sites of a block have shown to be; those that are not named have shown nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sites(Vec<Site>);

impl Sites {
    /// The site that is step `step`.
    pub fn get(&self, step: usize) -> Option<&Site> {
        self.0.iter().find(|site| usize::from(site.step) == step)
    }

    /// A site was seen to be `nature` before anything was made of it. If it was seen to be something
    /// else before, it stays plain.
    pub fn observe(&mut self, step: u8, nature: Nature) {
        match self.0.iter_mut().find(|site| site.step == step) {
            None => self.0.push(Site::new(step, nature)),
            Some(site) if site.nature == nature => {}
            Some(site) => *site = Site { nature: Nature::Plain, changes: MOST_CHANGES, ..*site },
        }
    }

    /// Adds what was observed elsewhere.
    pub fn observe_all(&mut self, others: &Sites) {
        others.0.iter().for_each(|other| self.observe(other.step, other.nature));
    }

    /// Translated code has shown that a site is `nature`. Tells whether the code is to be made anew.
    pub fn show(&mut self, step: u8, nature: Nature) -> bool {
        if self.get(step.into()).is_none() {
            self.0.push(Site::new(step, Nature::Plain));
        }
        let Some(site) = self.0.iter_mut().find(|site| site.step == step) else { return false };
        let is_late = nature != Nature::Plain && site.changes >= MOST_CHANGES;
        if site.nature == nature || is_late {
            return false;
        }
        *site = Site { nature, changes: site.changes.saturating_add(1), applied: false, ..*site };
        true
    }

    /// A translation has made the sites what they have shown to be. Gives those that changed by it.
    pub fn apply(&mut self) -> Vec<(Site, Change)> {
        self.0.iter_mut().filter(|site| !site.applied).filter_map(Site::apply).collect()
    }
}

impl Site {
    fn apply(&mut self) -> Option<(Site, Change)> {
        let before = self.was_patched;
        self.was_patched |= self.nature != Nature::Plain;
        self.applied = true;
        let change = match (self.nature, before) {
            (Nature::Plain, false) => return None,
            (Nature::Plain, true) => Change::Undone,
            (_, false) => Change::Patched,
            (_, true) => Change::Repatched,
        };
        Some((*self, change))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(base: u64) -> Nature {
        Nature::Window(Window::new(Va(base), Pa(0), 0x1000).expect("it lies low"))
    }

    #[test]
    fn a_site_is_patched_and_patched_back_a_few_times() {
        let mut sites = Sites::default();
        sites.observe(3, window(0));
        let changes =
            |sites: &mut Sites| sites.apply().into_iter().map(|(_, change)| change).collect::<Vec<_>>();
        assert_eq!(changes(&mut sites), [Change::Patched]);
        assert_eq!(changes(&mut sites), []);
        assert!(sites.show(3, Nature::Plain) && !sites.show(3, Nature::Plain));
        assert_eq!(changes(&mut sites), [Change::Undone]);
        assert!(sites.show(3, Nature::Device));
        assert_eq!(changes(&mut sites), [Change::Repatched]);
        let more = (0..100).filter(|at| sites.show(3, if at % 2 == 0 { Nature::Plain } else { window(0) }));
        assert!(more.count() < 4);
        assert_eq!(sites.get(3).map(|site| site.nature), Some(Nature::Plain));
    }

    #[test]
    fn a_site_that_was_seen_to_be_two_things_stays_plain() {
        let mut sites = Sites::default();
        sites.observe(0, window(0));
        sites.observe(0, window(0x1000));
        assert_eq!(sites.apply(), []);
        assert!(!sites.show(0, window(0)));
    }
}
