//! The code cache: blocks by identity, their host code, the links between them, and which blocks were
//! made from which page, so that a write to a page drops them. All vCPUs of a machine share one,
//! behind its lock.

mod arena;
mod history;

use std::collections::HashMap;
use std::sync::Arc;

use translator::addr::{Pa, Va};
use translator::block::{Block, Key};
use translator::code::Code;
use translator::emit::Pins;
use translator::nature::{Change, Nature, Site, Sites};

pub use arena::Arena;
use arena::Placement;
pub use history::{History, Placed};
use translator::listing::{Facts, Runs};

/// The most blocks that are kept; beyond it the interpreter's are dropped.
const MAX_BLOCKS: usize = 1 << 18;

/// A direct way out of a block: where the jump's displacement is, and where it goes while it is not
/// joined.
#[derive(Clone, Copy, Debug)]
struct LinkSite {
    displacement: usize,
    stub: usize,
}

/// A link that is to be joined once there is host code for where it leads. It is good until a region is
/// emptied, for its address may then be another link's.
#[derive(Clone, Copy, Debug)]
pub struct OpenLink {
    address: u64,
    to: Key,
    evictions: u64,
}

/// The host code of a block.
#[derive(Debug)]
struct Translation {
    placement: Placement,
    /// Where links lead.
    body: usize,
    stale: usize,
    /// The links that were joined to this one, if they are still there.
    incoming: Vec<u64>,
    /// The return addresses of its own link stubs, which name the links.
    links: Vec<u64>,
}

struct Entry {
    block: Arc<Block>,
    /// How often the block was interpreted because it had no translation.
    interpreted: u32,
    /// What its sites have shown to be.
    sites: Sites,
    /// What its translations have changed at its sites; a site changes a few times at most.
    changes: Vec<(Site, Change)>,
    translation: Option<Translation>,
}

/// What became of a translation that was to be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placing {
    /// The block's code is at this host address.
    At(u64),
    /// A region must be emptied first.
    Full,
    /// The block has been dropped meanwhile, or more is known of its sites.
    Outdated,
}

/// Blocks and their translations.
pub struct Cache {
    blocks: HashMap<Key, Entry>,
    pages: HashMap<u64, Vec<Key>>,
    arena: Arena,
    /// The blocks whose code is in each region.
    regions: Vec<Vec<Key>>,
    /// The links of all blocks, by the return addresses of their stubs.
    links: HashMap<u64, LinkSite>,
    invalidations: u64,
    /// How many regions have been emptied.
    evictions: u64,
    /// All translations there ever were, if someone wants to know.
    history: Option<History>,
}

impl Cache {
    /// An empty cache for code with `pins`.
    ///
    /// # Errors
    /// Fails if the host gives no executable memory.
    pub fn new(pins: &Pins) -> std::io::Result<Self> {
        Ok(Self {
            blocks: HashMap::new(),
            pages: HashMap::new(),
            arena: Arena::new(pins)?,
            regions: vec![Vec::new(); arena::REGIONS],
            links: HashMap::new(),
            invalidations: 0,
            evictions: 0,
            history: None,
        })
    }

    /// The host address of the way into generated code.
    pub fn way_in(&self) -> u64 {
        self.arena.way_in()
    }

    /// The block with identity `key`.
    pub fn find(&self, key: &Key) -> Option<&Arc<Block>> {
        self.blocks.get(key).map(|entry| &entry.block)
    }

    /// The host address of the translation of the block with identity `key`.
    pub fn entry(&self, key: &Key) -> Option<u64> {
        let translation = self.blocks.get(key)?.translation.as_ref()?;
        Some(self.arena.address(translation.placement.offset))
    }

    /// How often [`Cache::invalidate`] was called: a block that was decoded since it was read at one
    /// value may be added at the same value only.
    pub fn invalidations(&self) -> u64 {
        self.invalidations
    }

    /// Adds a block, and gives it. If another vCPU has added the same meanwhile, it gives that.
    pub fn insert(&mut self, block: Arc<Block>) -> Arc<Block> {
        if let Some(entry) = self.blocks.get(&block.key) {
            return Arc::clone(&entry.block);
        }
        if self.blocks.len() >= MAX_BLOCKS {
            self.drop_untranslated();
        }
        self.pages.entry(block.key.pa.page_number()).or_default().push(block.key);
        let entry = Entry {
            block: Arc::clone(&block),
            interpreted: 0,
            sites: Sites::default(),
            changes: Vec::new(),
            translation: None,
        };
        self.blocks.insert(block.key, entry);
        block
    }

    /// Blocks without host code are cheap to decode again.
    fn drop_untranslated(&mut self) {
        self.blocks.retain(|_, entry| entry.translation.is_some());
        let blocks = &self.blocks;
        for keys in self.pages.values_mut() {
            keys.retain(|key| blocks.contains_key(key));
        }
        self.pages.retain(|_, keys| !keys.is_empty());
    }

    /// Whether the block with identity `key` is still to be interpreted, which may be done `most` times; that is
    /// then counted.
    pub fn may_interpret(&mut self, key: &Key, most: u32) -> bool {
        self.blocks.get_mut(key).is_none_or(|entry| {
            let may = entry.interpreted < most;
            entry.interpreted += u32::from(may);
            may
        })
    }

    /// Whether a translation of `code` needs a region to be emptied first.
    pub fn is_full(&self, code: &Code) -> bool {
        self.arena.is_full(code.bytes.len())
    }

    /// Goes on to the next region of the arena and drops the blocks that were in it. No vCPU may be in
    /// generated code.
    pub fn empty_next_region(&mut self) {
        self.evictions += 1;
        self.arena.advance();
        let region = self.arena.region();
        for key in std::mem::take(&mut self.regions[region]) {
            let here = self.blocks.get(&key).and_then(|e| e.translation.as_ref());
            if here.is_some_and(|t| t.placement.region == region) {
                self.remove(&key);
                if let Some(keys) = self.pages.get_mut(&key.pa.page_number()) {
                    keys.retain(|k| *k != key);
                }
            }
        }
    }

    /// What the sites of the block with identity `key` have shown to be.
    pub fn sites(&self, key: &Key) -> Sites {
        self.blocks.get(key).map(|entry| entry.sites.clone()).unwrap_or_default()
    }

    /// Adds what the interpreter saw of the sites of the block with identity `key`.
    pub fn observe(&mut self, key: &Key, seen: &Sites) {
        if let Some(entry) = self.blocks.get_mut(key) {
            entry.sites.observe_all(seen);
        }
    }

    /// Step `step` of the block with identity `key` has shown what it is. If its host code is to be
    /// another, the translation is dropped, whose code may go on running. Tells whether it was.
    pub fn show(&mut self, key: &Key, step: u8, nature: Nature) -> bool {
        let Some(entry) = self.blocks.get_mut(key) else { return false };
        if !entry.sites.show(step, nature) {
            return false;
        }
        if let Some(translation) = entry.translation.take() {
            self.detach(&translation);
        }
        true
    }

    /// The sites of the block with identity `key` that its new translation has changed.
    pub fn apply_sites(&mut self, key: &Key) -> Vec<(Site, Change)> {
        let Some(entry) = self.blocks.get_mut(key) else { return Vec::new() };
        let changes = entry.sites.apply();
        entry.changes.extend_from_slice(&changes);
        changes
    }

    /// Places `code`, a translation of `block` with its sites as `sites` has them, unless there is one
    /// already.
    pub fn place(&mut self, block: &Arc<Block>, sites: &Sites, code: &Code) -> Placing {
        let key = block.key;
        let is_same = |entry: &&mut Entry| Arc::ptr_eq(&entry.block, block) && entry.sites == *sites;
        let Some(entry) = self.blocks.get_mut(&key).filter(is_same) else { return Placing::Outdated };
        // Another vCPU was faster. Of two translations only one would be unlinked when the block is dropped.
        if let Some(translation) = &entry.translation {
            return Placing::At(self.arena.address(translation.placement.offset));
        }
        if self.arena.is_full(code.bytes.len()) {
            return Placing::Full;
        }
        let placement = self.arena.place(code);
        let base = placement.offset;
        if let Some(history) = &mut self.history {
            if let Some(counter) = code.counter {
                self.arena.write_constant(base + counter, history.next_counter());
            }
            let (block, address) = (Arc::new(block.patched(sites)), self.arena.address(base));
            history.add(Placed { block, address, bytes: code.bytes.len() });
        }
        let mut links = Vec::with_capacity(code.links.len());
        for link in &code.links {
            let address = self.arena.address(base + link.return_offset);
            let site = LinkSite { displacement: base + link.displacement, stub: base + link.stub };
            self.links.insert(address, site);
            links.push(address);
        }
        let (body, stale) = (base + code.body, base + code.stale);
        entry.translation = Some(Translation { placement, body, stale, incoming: Vec::new(), links });
        self.regions[placement.region].push(key);
        Placing::At(self.arena.address(base))
    }

    /// From now on all translations are remembered. Blocks may count their runs only then.
    pub fn keep_history(&mut self) {
        self.history.get_or_insert_default();
    }

    /// All translations there ever were, if they are remembered.
    pub fn history(&self) -> Option<&History> {
        self.history.as_ref()
    }

    /// The host addresses and sizes of the shared routines, by name.
    pub fn routines(&self) -> Vec<(String, u64, usize)> {
        self.arena.routines()
    }

    /// The blocks that there are and that `wanted` chooses, with their sites as they are patched.
    pub fn blocks(&self, wanted: impl Fn(&Block) -> bool) -> impl Iterator<Item = Block> {
        let wanted = self.blocks.values().filter(move |entry| wanted(&entry.block));
        wanted.map(|entry| entry.block.patched(&entry.sites))
    }

    /// Which block each link belongs to, by the return address of the link's stub.
    pub fn link_owners(&self) -> HashMap<u64, Va> {
        let translated = self.blocks.values().filter_map(|entry| Some((entry, entry.translation.as_ref()?)));
        let links = translated
            .flat_map(|(entry, translation)| translation.links.iter().map(|link| (*link, entry.block.va)));
        links.collect()
    }

    /// What there is to know of the block with identity `key`, whose code was entered `executions` times;
    /// `owners` are those of [`Cache::link_owners`].
    pub fn facts(&self, key: &Key, executions: u64, owners: &HashMap<u64, Va>) -> Facts {
        let mut facts = Facts { runs: Runs { executions, ..Runs::default() }, ..Facts::default() };
        let Some(entry) = self.blocks.get(key) else { return facts };
        facts.runs.interpreted = entry.interpreted;
        facts.changes.clone_from(&entry.changes);
        let Some(translation) = &entry.translation else { return facts };
        let is_joined = |link: &u64| {
            let site = self.links.get(link);
            site.is_some_and(|site| self.arena.target(site.displacement) != site.stub)
        };
        facts.runs.translated = true;
        facts.incoming = translation.incoming.iter().filter_map(|link| owners.get(link).copied()).collect();
        facts.incoming.sort();
        facts.joined = translation.links.iter().map(is_joined).collect();
        facts
    }

    /// The link whose stub returned to `address` and that leads to the block with identity `to`.
    pub fn open(&self, address: u64, to: Key) -> OpenLink {
        OpenLink { address, to, evictions: self.evictions }
    }

    /// Joins `link`, if it is still there and leads to the block with identity `key`.
    pub fn join_open(&mut self, link: OpenLink, key: &Key) {
        if link.evictions == self.evictions && link.to == *key {
            self.join(link.address, key);
        }
    }

    /// Joins the link whose stub returned to `link` to the block with identity `key`.
    pub fn join(&mut self, link: u64, key: &Key) {
        let Some(translation) = self.blocks.get_mut(key).and_then(|e| e.translation.as_mut()) else { return };
        if let Some(site) = self.links.get(&link) {
            self.arena.redirect(site.displacement, translation.body);
            translation.incoming.push(link);
        }
    }

    /// Drops one block: whoever comes to it by a link or a jump cache goes to the run loop instead.
    fn remove(&mut self, key: &Key) {
        if let Some(Entry { translation: Some(translation), .. }) = self.blocks.remove(key) {
            self.detach(&translation);
        }
    }

    /// Sends whoever comes to the code of `translation` elsewhere. The code stays, for vCPUs may be in it: its own
    /// links are undone as well, because nobody will do so when the blocks that they lead to are dropped.
    fn detach(&mut self, translation: &Translation) {
        self.arena.overwrite_entry(translation.placement.offset, translation.stale);
        for site in translation.incoming.iter().filter_map(|link| self.links.get(link)) {
            self.arena.redirect(site.displacement, site.stub);
        }
        for site in translation.links.iter().filter_map(|link| self.links.remove(link)) {
            self.arena.redirect(site.displacement, site.stub);
        }
    }

    /// Drops the blocks made from any of the `bytes` bytes at `pa`. Tells how many there were, and
    /// whether the page has any left.
    pub fn invalidate(&mut self, pa: Pa, bytes: u64) -> (usize, bool) {
        self.invalidations += 1;
        let Some(mut keys) = self.pages.remove(&pa.page_number()) else { return (0, false) };
        let before = keys.len();
        keys.retain(|key| {
            let length = self.blocks.get(key).map_or(0, |e| e.block.bytes().max(4));
            let hit = key.pa.0 < pa.0 + bytes && pa.0 < key.pa.0 + length;
            if hit {
                self.remove(key);
            }
            !hit
        });
        let (dropped, left) = (before - keys.len(), !keys.is_empty());
        if left {
            self.pages.insert(pa.page_number(), keys);
        }
        (dropped, left)
    }
}

#[cfg(test)]
mod tests {
    use translator::addr::Va;
    use translator::emit::emit;
    use translator::ir;
    use translator::mode::Mode;
    use translator::model::MIPS64R2;

    use super::*;

    /// A jump to the next page and its delay slot: one link.
    fn block() -> Arc<Block> {
        block_at(0x1000)
    }

    fn block_at(pa: u64) -> Arc<Block> {
        let (va, jump) = (Va(0xffff_ffff_8000_0000) + pa, 0x0800_0800);
        let key = Key::new(va, Pa(pa), Mode::empty());
        Arc::new(Block::decode(key, va, &MIPS64R2, |index| if index == 0 { jump } else { 0 }, None))
    }

    #[test]
    fn two_vcpus_that_translate_one_block_get_one_translation() {
        let mut cache = Cache::new(&Pins::COMPILED).unwrap();
        let [first, second] = [block(), block()].map(|block| cache.insert(block));
        assert!(Arc::ptr_eq(&first, &second));
        let code = emit(&first, &ir::build(&first), &Pins::COMPILED);
        assert_eq!(code.links.len(), 1);
        let entries = [&first, &second].map(|block| cache.place(block, &Sites::default(), &code));
        assert!(matches!(entries[0], Placing::At(_)));
        assert_eq!(entries[0], entries[1]);
        assert_eq!((cache.links.len(), cache.regions[0].len()), (1, 1));
        assert_eq!(cache.invalidate(Pa(0x1000), 4), (1, false));
        assert!(cache.links.is_empty());
        assert_eq!(cache.place(&first, &Sites::default(), &code), Placing::Outdated);
    }

    #[test]
    fn a_region_that_others_have_filled_meanwhile_is_no_room() {
        let mut cache = Cache::new(&Pins::COMPILED).unwrap();
        let mut code = emit(&block(), &ir::build(&block()), &Pins::COMPILED);
        code.bytes.resize(arena::REGION_BYTES / 4, 0);
        let place = |cache: &mut Cache, number: u64| {
            let block = cache.insert(block_at(number * 0x1000));
            cache.place(&block, &Sites::default(), &code)
        };
        let placed = (1..).take_while(|number| place(&mut cache, *number) != Placing::Full).count();
        assert!((1..=4).contains(&placed), "{placed}");
        cache.empty_next_region();
        assert!(matches!(place(&mut cache, 100), Placing::At(_)));
    }
}
