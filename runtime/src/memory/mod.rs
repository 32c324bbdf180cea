//! Guest RAM and what is known of its pages. It knows physical addresses only, and nothing of who
//! reads or writes.

mod dma;
mod lost;
mod notices;
mod pages;
mod ram;
mod watch;

pub use dma::{Dma, OutsideRam, WriteNotice};
pub use lost::report_lost_pages;
pub use notices::Notices;
pub use pages::PageFlags;
pub use ram::{Direction, Ram, RamError};
pub use watch::{PageKeeper, WriteWatch, pages};
