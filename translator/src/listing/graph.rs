//! Where the boxes of a control-flow graph go: a row for each distance from the first block, in
//! columns from left to right. It must not know what is in a box or how it is drawn.

use std::collections::{HashMap, VecDeque};

use super::Listing;

/// The place of a block in the drawing, in boxes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// From the top.
    pub row: usize,
    /// From the left.
    pub column: usize,
}

/// The graph of some blocks.
#[derive(Debug)]
pub struct Graph {
    /// The place of each block, in the order of the listings.
    pub cells: Vec<Cell>,
    /// From which block to which, by their numbers.
    pub edges: Vec<(usize, usize)>,
}

impl Graph {
    /// Lays out `listings`.
    pub fn new(listings: &[Listing]) -> Self {
        let edges = edges(listings);
        let rows = rows(listings.len(), &edges);
        let mut filled: HashMap<usize, usize> = HashMap::new();
        let cells = rows.into_iter().map(|row| {
            let next = filled.entry(row).or_default();
            *next += 1;
            Cell { row, column: *next - 1 }
        });
        Self { cells: cells.collect(), edges }
    }

    /// The number of rows and of columns.
    pub fn size(&self) -> Cell {
        let end = |part: fn(&Cell) -> usize| self.cells.iter().map(|cell| part(cell) + 1).max().unwrap_or(0);
        Cell { row: end(|cell| cell.row), column: end(|cell| cell.column) }
    }
}

fn edges(listings: &[Listing]) -> Vec<(usize, usize)> {
    let by_address: HashMap<_, _> =
        listings.iter().enumerate().map(|(index, one)| ((one.address, &one.mode), index)).collect();
    let mut edges = Vec::new();
    for (from, listing) in listings.iter().enumerate() {
        let targets = listing.ways_out.iter().filter_map(|way| way.address);
        edges.extend(targets.filter_map(|va| Some((from, *by_address.get(&(va, &listing.mode))?))));
    }
    edges
}

/// The distance of each block from one that nothing before it leads to.
fn rows(count: usize, edges: &[(usize, usize)]) -> Vec<usize> {
    let mut rows = vec![None; count];
    let mut next_row = 0;
    for root in 0..count {
        if rows[root].is_some() {
            continue;
        }
        rows[root] = Some(next_row);
        let mut waiting = VecDeque::from([root]);
        while let Some(from) = waiting.pop_front() {
            let row = rows[from].unwrap_or(next_row) + 1;
            for (_, to) in edges.iter().filter(|(source, _)| *source == from) {
                if rows[*to].is_none() {
                    rows[*to] = Some(row);
                    waiting.push_back(*to);
                }
            }
        }
        let is_alone = !edges.iter().any(|(from, to)| *from == root || *to == root);
        if !is_alone {
            next_row = rows.iter().flatten().max().map_or(0, |row| row + 1);
        }
    }
    rows.into_iter().map(|row| row.unwrap_or(0)).collect()
}
