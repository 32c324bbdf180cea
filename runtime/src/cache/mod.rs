//! The code cache: decoded blocks by identity, and which blocks were made from which page, so that a
//! write to a page drops them. All vCPUs of a machine share one, behind its lock.

use std::collections::HashMap;
use std::sync::Arc;

use translator::addr::Pa;
use translator::block::{Block, Key};

/// The most blocks that are kept; beyond it everything is dropped.
const MAX_BLOCKS: usize = 1 << 17;

/// Decoded blocks.
#[derive(Default)]
pub struct Cache {
    blocks: HashMap<Key, Arc<Block>>,
    pages: HashMap<u64, Vec<Key>>,
}

impl Cache {
    /// The block with identity `key`.
    pub fn find(&self, key: &Key) -> Option<&Arc<Block>> {
        self.blocks.get(key)
    }

    /// Adds a block.
    pub fn insert(&mut self, block: Arc<Block>) {
        if self.blocks.len() >= MAX_BLOCKS {
            self.blocks.clear();
            self.pages.clear();
        }
        self.pages.entry(block.key.pa.page_number()).or_default().push(block.key);
        self.blocks.insert(block.key, block);
    }

    /// Drops the blocks made from any of the `bytes` bytes at `pa`. Tells how many there were, and
    /// whether the page has any left.
    pub fn invalidate(&mut self, pa: Pa, bytes: u64) -> (usize, bool) {
        let Some(keys) = self.pages.get_mut(&pa.page_number()) else { return (0, false) };
        let before = keys.len();
        let blocks = &mut self.blocks;
        keys.retain(|key| {
            let length = blocks.get(key).map_or(0, |block| block.bytes().max(4));
            let hit = key.pa.0 < pa.0 + bytes && pa.0 < key.pa.0 + length;
            if hit {
                blocks.remove(key);
            }
            !hit
        });
        let (dropped, left) = (before - keys.len(), !keys.is_empty());
        if !left {
            self.pages.remove(&pa.page_number());
        }
        (dropped, left)
    }
}
