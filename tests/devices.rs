//! Disks and networks of a whole machine with Debian's kernel: what the guest writes is on the host, and what the host
//! serves is in the guest. Nothing leaves this machine. The image comes from the cache, or is made by apt.

mod host;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread;
use std::time::Duration;

use host::{myvmm, text};
use tempfile::NamedTempFile;

/// Runs a script in the guest and gives what it printed.
fn guest(arguments: &[&str], script: &str) -> String {
    let output = myvmm(["debian", "--run", script]).args(arguments).output().unwrap();
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{printed}\n{}", text(&output.stderr));
    printed
}

fn assert_lines(printed: &str, expected: &[&str]) {
    let mut lines = printed.lines().map(str::trim_end);
    for expected in expected {
        assert!(lines.any(|line| line.contains(expected)), "no `{expected}` in its place in:\n{printed}");
    }
}

fn blank(size: u64) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    file.as_file().set_len(size).unwrap();
    file
}

#[test]
fn what_the_guest_writes_is_in_the_images() {
    let (first, second, third) = (blank(16 << 20), blank(8 << 20), blank(1 << 20));
    let paths = [&first, &second, &third].map(|file| file.path().to_str().unwrap());
    let disks = [paths[0].to_owned(), format!("{},snapshot=on", paths[1]), format!("{},ro", paths[2])];
    let arguments: Vec<&str> = disks.iter().flat_map(|disk| ["--disk", disk.as_str()]).collect();
    let script = "
        grep -c . /sys/block/vd*/size | wc -l
        yes 0123456789abcde | dd of=/dev/vda bs=64k count=100 iflag=fullblock seek=3 conv=fsync 2> /dev/null
        yes gone | dd of=/dev/vdb bs=4k count=100 iflag=fullblock conv=fsync 2> /dev/null
        dd if=/dev/vdb bs=5 count=1 2> /dev/null
        dd if=/dev/zero of=/dev/vdc bs=512 count=1 2>&1 | grep -o -i 'not permitted\\|read-only'
        cat /sys/block/vdc/ro";
    let printed = guest(&arguments, script);
    let lines: Vec<&str> = printed.lines().map(str::trim_end).filter(|line| !line.starts_with('[')).collect();
    assert_lines(&printed, &["3", "gone"]);
    assert!(lines.contains(&"1"), "{printed}");
    let bytes = std::fs::read(first.path()).unwrap();
    let (before, rest) = bytes.split_at(3 << 16);
    let (written, after) = rest.split_at(100 << 16);
    assert!(before.iter().chain(after).all(|byte| *byte == 0));
    assert!(written.chunks(16).all(|chunk| chunk == b"0123456789abcde\n"));
    assert!(std::fs::read(second.path()).unwrap().iter().all(|byte| *byte == 0));
}

#[test]
fn an_image_in_use_is_refused() {
    let file = blank(1 << 20);
    let path = file.path().to_str().unwrap();
    let twice = ["debian", "--disk", path, "--disk", path];
    let output = myvmm(twice).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("in use"), "{}", text(&output.stderr));
}

#[test]
fn a_qcow2_image_is_clean_after_use() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("disk.qcow2");
    let path = file.to_str().unwrap();
    let image = |arguments: &[&str]| Command::new("qemu-img").args(arguments).arg(path).output();
    let made = Command::new("qemu-img").args(["create", "-q", "-f", "qcow2", path, "64M"]).status();
    assert!(made.expect("qemu-img runs: install qemu-utils").success());
    let disk = format!("{path},format=qcow2");
    let write = "yes x | dd of=/dev/vda bs=1M count=20 iflag=fullblock conv=fsync 2> /dev/null; dd if=/dev/vda bs=1M count=20 2> /dev/null | sha256sum";
    let sum = guest(&["--disk", &disk], write);
    let checked = image(&["check", "-q"]).unwrap();
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    let read = guest(&["--disk", &disk], "dd if=/dev/vda bs=1M count=20 2> /dev/null | sha256sum");
    let sum = sum.lines().find(|line| line.trim_end().ends_with('-')).unwrap();
    assert_lines(&read, &[sum.trim_end()]);
}

/// Bytes that look like nothing, and their sum as the guest's `sha256sum` shows it.
fn content(length: u32) -> (Vec<u8>, String) {
    let content: Vec<u8> = (0..length).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let sum = sum(&content);
    (content, sum)
}

fn sum(bytes: &[u8]) -> String {
    let copy = NamedTempFile::new().unwrap();
    std::fs::write(copy.path(), bytes).unwrap();
    let summed = Command::new("sha256sum").arg(copy.path()).output().unwrap();
    text(&summed.stdout)[..64].to_owned()
}

/// A server that sends `content` to the first client and sums up what the second one sends.
fn serve(listener: &TcpListener, content: &[u8]) -> String {
    let (mut stream, _) = listener.accept().unwrap();
    let mut request = [0; 1024];
    assert!(stream.read(&mut request).unwrap() > 0);
    write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n", content.len()).unwrap();
    stream.write_all(content).unwrap();
    drop(stream);
    let (mut stream, _) = listener.accept().unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).unwrap();
    sum(&bytes)
}

#[test]
fn the_guest_has_a_lease_and_moves_a_hundred_megabytes_each_way() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (content, expected) = content(100_000_000);
    let server = thread::spawn(move || serve(&listener, &content));
    let script = format!(
        "ip addr show eth0
        cat /etc/resolv.conf
        ping -c 1 10.0.2.2 | grep received
        wget -q -O /tmp/x http://10.0.2.2:{port}/x
        sha256sum /tmp/x
        nc 10.0.2.2 {port} < /tmp/x"
    );
    let printed = guest(&["--mem", "1G"], &script);
    assert_lines(&printed, &["inet 10.0.2.15/24", "nameserver 10.0.2.3", "1 packets received", &expected]);
    assert_eq!(server.join().unwrap(), expected);
}

/// Answers one question for an address (RFC 1035, section 4) with 192.0.2.99.
fn answer_name(server: &UdpSocket) {
    let mut question = [0; 512];
    loop {
        let (length, client) = server.recv_from(&mut question).unwrap();
        let mut answer = question[..length].to_vec();
        let is_address = question[length - 4..length] == [0, 1, 0, 1];
        answer[2..4].copy_from_slice(&[0x81, 0x80]);
        answer[7] = u8::from(is_address);
        if is_address {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 99]);
        }
        server.send_to(&answer, client).unwrap();
        if is_address {
            return;
        }
    }
}

#[test]
fn names_are_asked_of_the_chosen_server_and_ports_lead_to_the_guest() {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let name_server = server.local_addr().unwrap();
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let net = format!("user,dns={name_server},hostfwd=tcp::{port}-:80");
    let names = thread::spawn(move || answer_name(&server));
    let client = thread::spawn(move || {
        let mut answer = String::new();
        // The guest is not there yet, and the host's side refuses for it.
        while answer.is_empty() {
            thread::sleep(Duration::from_millis(100));
            let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
            let _ = stream.read_to_string(&mut answer);
        }
        answer
    });
    let script = "
        nslookup -type=a host.example | grep 192.0.2
        echo over a connection | nc -l -p 80";
    let printed = guest(&["--net", &net], script);
    assert_lines(&printed, &["192.0.2.99"]);
    names.join().unwrap();
    assert_eq!(client.join().unwrap(), "over a connection\n");
}

#[test]
fn cards_have_the_addresses_of_their_machine() {
    let script = "cat /sys/class/net/eth*/address";
    let cards = ["--net", "user", "--net", "user,mac=52:54:00:00:00:09"];
    let of = |name| guest(&[&["--name", name][..], &cards].concat(), script);
    let (first, again, other) = (of("one"), of("one"), of("two"));
    assert_lines(&first, &["52:", "52:54:00:00:00:09"]);
    let addresses = |printed: &str| -> Vec<String> {
        printed.lines().map(str::trim_end).filter(|line| line.starts_with("52:")).map(str::to_owned).collect()
    };
    assert_eq!(addresses(&first), addresses(&again));
    assert_ne!(addresses(&first), addresses(&other));
}

/// Two machines with a cable between them.
#[test]
fn two_guests_reach_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("cable");
    let end = |kind: &str| format!("socket,{kind}={}", path.display());
    let listen = end("listen");
    let (_, expected) = content(1 << 20);
    let near = thread::spawn(move || {
        let script = "
            ifconfig eth0 192.0.2.1 netmask 255.255.255.0
            nc -l -p 80 | sha256sum";
        guest(&["--net", &listen], script)
    });
    // Until the other is there, the connection is refused; the pattern is that of the host.
    let script = "
        ifconfig eth0 192.0.2.2 netmask 255.255.255.0
        until ping -c 1 -W 1 192.0.2.1 | grep ' 0% packet loss'; do :; done
        dd if=/dev/vda bs=64k 2> /dev/null > /tmp/x
        until nc 192.0.2.1 80 < /tmp/x; do sleep 1; done";
    let (bytes, _) = content(1 << 20);
    let image = NamedTempFile::new().unwrap();
    std::fs::write(image.path(), bytes).unwrap();
    let printed = guest(&["--net", &end("connect"), "--disk", image.path().to_str().unwrap()], script);
    assert_lines(&printed, &["0% packet loss"]);
    assert_lines(&near.join().unwrap(), &[&expected]);
}

#[test]
fn without_a_network_there_is_none() {
    let printed = guest(&["--net", "none"], "ls /sys/class/net; echo end");
    assert_lines(&printed, &["lo", "end"]);
    assert!(!printed.contains("eth0"));
}

#[test]
fn a_console_leads_to_the_host() {
    let directory = tempfile::tempdir().unwrap();
    let (socket, file) = (directory.path().join("socket"), directory.path().join("file"));
    let options = [format!("socket,listen={}", socket.display()), format!("file,path={}", file.display())];
    let person = thread::spawn(move || {
        let mut stream = loop {
            thread::sleep(Duration::from_millis(50));
            if let Ok(stream) = UnixStream::connect(&socket) {
                break stream;
            }
        };
        let mut shown = String::new();
        while !shown.contains("who?") {
            let mut bytes = [0; 100];
            let length = stream.read(&mut bytes).unwrap();
            assert!(length > 0, "the console ended after `{shown}`");
            shown += &text(&bytes[..length]);
        }
        stream.write_all(b"a person\n").unwrap();
        stream
    });
    let script = "
        echo to the file > /dev/hvc1
        # Open all the time, or what is typed meanwhile is forgotten.
        exec 3<> /dev/hvc0
        until echo 'who?' >&3 && read -t 1 name <&3; do :; done
        echo it is $name";
    let printed = guest(&["--console", &options[0], "--console", &options[1]], script);
    assert_lines(&printed, &["it is a person"]);
    person.join().unwrap();
    assert_eq!(text(&std::fs::read(file).unwrap()).trim_end(), "to the file");
}
