//! Finds, in the bytes of a busybox binary, the names it answers to. Each needs a link in a guest's file system, and
//! a busybox for another processor cannot be run to ask it. This file knows no package and no archive.

/// Where the table of names starts: it is sorted, and these two come first in every busybox with a shell.
const FIRST_NAMES: &[u8] = b"\0[\0[[\0";
/// Fewer names than this are some other text that happens to look alike.
const FEWEST_NAMES: usize = 20;

/// The names that the busybox in `binary` answers to, in its own order, or nothing if it holds no such table.
#[must_use]
pub fn applets(binary: &[u8]) -> Option<Vec<&str>> {
    let starts = binary.windows(FIRST_NAMES.len()).enumerate().filter(|(_, bytes)| *bytes == FIRST_NAMES);
    starts.map(|(start, _)| table(&binary[start + 1..])).find(|names| names.len() >= FEWEST_NAMES)
}

/// The zero-terminated names from the start of `bytes` to the first empty one.
fn table(bytes: &[u8]) -> Vec<&str> {
    let names = bytes.split(|byte| *byte == 0).map(|name| std::str::from_utf8(name).unwrap_or(""));
    names.take_while(|name| is_name(name)).collect()
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/')
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A stand-in for a busybox: a decoy, then a table of the given names.
    pub(crate) fn binary(names: &[&str]) -> Vec<u8> {
        let mut bytes = b"\x7fELF \0[\0[[\0bad function name\0".to_vec();
        for name in [&["[", "[["], names].concat() {
            bytes.extend_from_slice(name.as_bytes());
            bytes.push(0);
        }
        bytes.extend_from_slice(b"\0/var/log\0");
        bytes
    }

    #[test]
    fn the_table_is_found_behind_a_decoy() {
        let names: Vec<String> = (0..30).map(|number| format!("applet{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(applets(&binary(&names)), Some([&["[", "[["], &names[..]].concat()));
    }

    #[test]
    fn no_table_is_no_list() {
        assert_eq!(applets(b""), None);
        assert_eq!(applets(&binary(&["sh"])), None);
    }
}
