//! The name server that the host uses. It must not know what is asked of it.

use std::net::Ipv4Addr;

/// Where the host says which servers it asks (resolv.conf(5)).
pub const FILE: &str = "/etc/resolv.conf";

/// The first of the host's name servers that has an IPv4 address, if there is one.
pub fn of_host() -> Option<Ipv4Addr> {
    first(&std::fs::read_to_string(FILE).ok()?)
}

fn first(text: &str) -> Option<Ipv4Addr> {
    let server = |line: &str| line.trim_start().strip_prefix("nameserver")?.trim().parse().ok();
    text.lines().find_map(server)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_server_of_our_kind_is_taken() {
        let text = "# nameserver 1.1.1.1\nsearch home\nnameserver fe80::1\nnameserver 192.0.2.7\nnameserver 192.0.2.8\n";
        assert_eq!(first(text), Some(Ipv4Addr::new(192, 0, 2, 7)));
        assert_eq!(first("options edns0\n"), None);
    }
}
