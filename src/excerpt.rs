//! Which blocks of guest code are wanted: an option on the command line, and what a running VM is asked for. It must not know
//! where the code is.

use std::ops::Range;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use translator::addr::Va;
use translator::listing::Listing;

use crate::exit::Refused;
use crate::guest_code::GuestCode;

/// More instructions make a listing that nobody reads.
const MOST_BYTES: u64 = 4 << 16;

/// What of guest code is shown.
#[derive(Clone, Debug, Default, Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Excerpt {
    /// The block at this address
    #[arg(long, value_name = "ADDRESS", value_parser = number, group = "place")]
    pub address: Option<u64>,
    /// The blocks of this function
    #[arg(long, value_name = "NAME", group = "place")]
    symbol: Option<String>,
    /// The blocks from one address up to another
    #[arg(long, value_name = "FROM..TO", value_parser = range, group = "place")]
    range: Option<(u64, u64)>,
    /// The N blocks that ran most often, the first the hottest
    #[arg(long, value_name = "N", group = "place", conflicts_with = "mode", value_parser = count)]
    pub hot: Option<usize>,
    /// The mode that the code runs in; by default what its address says
    #[arg(long, value_enum)]
    mode: Option<Privilege>,
}

/// A privilege.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Privilege {
    /// Privileged instructions are allowed
    Kernel,
    /// Privileged instructions are exceptions
    User,
}

impl Excerpt {
    /// The listings of what is wanted of `code`, other than its hottest blocks, which it does not know.
    ///
    /// # Errors
    /// Refuses places that are not in it.
    pub fn of(&self, code: &mut GuestCode<'_>) -> Result<Vec<Listing>, Refused> {
        let user = self.mode.map(|mode| mode == Privilege::User);
        let mut listings = Vec::new();
        for range in self.ranges(code)? {
            let mode = code.mode(range.start, user);
            code.learn(&range);
            let blocks = match self.address {
                Some(_) => code.at(range.start, mode),
                None => code.blocks(&range, mode),
            };
            listings.extend(blocks.iter().map(|seen| code.listing(seen)));
        }
        Ok(listings)
    }

    /// What was asked for, or else everything.
    fn ranges(&self, code: &GuestCode<'_>) -> Result<Vec<Range<Va>>, Refused> {
        if let Some(address) = self.address {
            let va = code.address(address)?;
            return Ok(vec![va..va + 4]);
        }
        if let Some((from, to)) = self.range {
            let range = code.address(from)?..code.address(to.saturating_sub(4))? + 4;
            return Ok(vec![checked(range)?]);
        }
        if let Some(name) = &self.symbol {
            return Ok(vec![checked(code.function(name)?)?]);
        }
        code.all().into_iter().map(checked).collect()
    }
}

fn checked(range: Range<Va>) -> Result<Range<Va>, Refused> {
    if range.is_empty() {
        return Err(Refused(format!("From {} up to {} there is nothing", range.start, range.end)));
    }
    let bytes = range.end.0 - range.start.0;
    if bytes > MOST_BYTES {
        let most = MOST_BYTES / 4;
        return Err(Refused(format!(
            "{} instructions are more than one listing can have, which is {most}; give a shorter --range",
            bytes / 4
        )));
    }
    Ok(range)
}

/// Reads an address: hexadecimal, with or without `0x`.
fn number(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    u64::from_str_radix(digits, 16).map_err(|_| "write a hexadecimal number of at most 64 bits".to_owned())
}

fn count(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| "write how many blocks, as in 20".to_owned())
}

fn range(text: &str) -> Result<(u64, u64), String> {
    let (from, to) = text.split_once("..").ok_or("write two addresses, as in 80100000..80100040")?;
    Ok((number(from)?, number(to)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hexadecimal() {
        assert_eq!(number("80100000"), Ok(0x8010_0000));
        assert_eq!(number("0xffffffff80100000"), Ok(0xffff_ffff_8010_0000));
        for bad in ["", "0x", "main", "1ffffffffffffffff", "-4"] {
            assert!(number(bad).is_err(), "{bad}");
        }
        assert_eq!(range("10..20"), Ok((0x10, 0x20)));
        assert!(range("10-20").is_err());
    }
}
