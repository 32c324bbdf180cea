//! Base64, in which a script can travel in a kernel command line: it has no spaces and no quotes.

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// `bytes` in base64 with padding.
pub(crate) fn encode(bytes: &[u8]) -> String {
    bytes.chunks(3).flat_map(encode_group).collect()
}

/// Three bytes as four digits; what is missing of the three becomes padding.
fn encode_group(group: &[u8]) -> [char; 4] {
    let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
    let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
    let digit = |index: usize| {
        let value = bits >> (18 - 6 * index) & 63;
        if index > group.len() { '=' } else { char::from(ALPHABET[value as usize]) }
    };
    [digit(0), digit(1), digit(2), digit(3)]
}

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn every_length_of_the_last_group() {
        for (plain, encoded) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("\u{7ff}", "378="),
        ] {
            assert_eq!(encode(plain.as_bytes()), encoded);
        }
    }
}
