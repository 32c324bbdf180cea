//! Where Debian packages come from: what the host's own apt is set up to use. Apt itself is asked, since it knows
//! every form that its sources can have. This file names no mirror and downloads nothing.

use std::path::Path;

use crate::Error;
use crate::program::APT_GET;

/// What apt is asked to print of each file that it would download, with tabs between.
const FORMAT: &str = "$(CREATED_BY)\t$(REPO_URI)\t$(RELEASE)\t$(ORIGIN)\t$(COMPONENT)";

/// The addresses of Debian archives that the host uses, the likeliest first.
pub(crate) fn of_host() -> Result<Vec<String>, Error> {
    // Where the host has lists, they tell whose each archive is. A host without, as a fresh container, is asked for
    // its sources alone.
    for release_info in [&[][..], &["--no-release-info"]] {
        let mut command = APT_GET.command();
        command.args(["indextargets", "--format", FORMAT]).args(release_info);
        let listing = APT_GET.output(&mut command, "reading apt's sources", Path::new("/"))?;
        let mirrors = parse(&listing);
        if !mirrors.is_empty() {
            return Ok(mirrors);
        }
    }
    Err(Error::NoMirror)
}

/// Checks an address that a person gave.
pub(crate) fn check(mirror: &str) -> Result<(), Error> {
    let plain = mirror.chars().all(|letter| letter.is_ascii_graphic() && !"[]\"#".contains(letter));
    if plain && mirror.contains(":/") { Ok(()) } else { Err(Error::BadMirror { mirror: mirror.to_owned() }) }
}

/// How likely it is that a source has Debian's main archive; no value if it surely has not.
fn rank(line: &str) -> Option<(u8, &str)> {
    let mut fields = line.split('\t');
    let mut next = || fields.next().unwrap_or("");
    let (creator, address, release, origin, component) = (next(), next(), next(), next(), next());
    // Updates and security fixes live in suites of their own, on mirrors that need not have the main one.
    let main_suite = !release.contains(['-', '/']);
    if creator != "Packages" || component != "main" || !main_suite || address.starts_with("cdrom:") {
        return None;
    }
    let directory = address.trim_end_matches('/').rsplit('/').next();
    match origin {
        "Debian" => Some((0, address)),
        // Before the first update of the host's own lists, apt cannot tell whose archive it is.
        "" | "$(ORIGIN)" if directory == Some("debian") => Some((1, address)),
        "" | "$(ORIGIN)" => Some((2, address)),
        _ => None,
    }
}

fn parse(listing: &str) -> Vec<String> {
    let mut ranked: Vec<(u8, &str)> =
        listing.lines().filter_map(rank).filter(|(_, address)| check(address).is_ok()).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    let mut mirrors: Vec<String> = Vec::new();
    for (_, address) in ranked {
        if !mirrors.iter().any(|known| known == address) {
            mirrors.push(address.to_owned());
        }
    }
    mirrors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debian_comes_first_and_others_not_at_all() {
        let listing = "Packages\tscheme://a/tools/\tstable\ttools\tmain\n\
            Packages\tscheme://b/unknown/\tbookworm\t\tmain\n\
            Packages\tscheme://c/debian/\ttrixie\t$(ORIGIN)\tmain\n\
            DEP-11\tscheme://x/debian/\tbookworm\tDebian\tmain\n\
            Packages\tscheme://d/debian-security/\tbookworm-security\tDebian\tmain\n\
            Packages\tcdrom:[x]/\tbookworm\tDebian\tmain\n\
            Packages\tscheme://e/pub/\tbookworm\tDebian\tcontrib\n\
            Packages\tscheme://e/pub/\tbookworm\tDebian\tmain\n\
            Packages\tscheme://e/pub/\tsid\tDebian\tmain\n";
        assert_eq!(parse(listing), ["scheme://e/pub/", "scheme://c/debian/", "scheme://b/unknown/"]);
        assert!(parse("").is_empty());
        assert!(parse("garbage\nPackages").is_empty());
    }

    #[test]
    fn an_address_stays_one_word() {
        assert!(check("scheme://host/debian").is_ok());
        assert!(check("file:/srv/debian").is_ok());
        for bad in ["", "host", "a://b c", "a://b [trusted=yes]", "a://b\nc"] {
            assert!(matches!(check(bad), Err(Error::BadMirror { .. })), "{bad:?}");
        }
    }
}
