//! Traffic of real programs: curl and iperf3 in guests, over each kind of network. What must hold is that all arrives and
//! that the guest's card has lost nothing on the way; how fast that is, benches/net.sh shows.

mod host;

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use host::{myvmm, text};
use image::{Flavour, Request, Silent};
use tempfile::TempDir;

/// In the guest's scripts: fails if the card has seen frames that it could not make sense of, or not send.
const NOTHING_LOST: &str = "
    for what in rx_errors rx_length_errors rx_over_errors tx_errors tx_dropped; do
        n=$(cat /sys/class/net/eth0/statistics/$what)
        [ $n = 0 ] || { echo \"$what is $n\"; exit 1; }
    done";

/// Where iperf3 listens if nothing else is said.
const IPERF_PORT: u16 = 5201;

/// A guest with curl and iperf3.
struct Guest {
    kernel: PathBuf,
    initramfs: PathBuf,
    _directory: TempDir,
}

/// Made once for all tests.
fn guest() -> &'static Guest {
    static GUEST: OnceLock<Guest> = OnceLock::new();
    GUEST.get_or_init(|| {
        let request = Request::new(image::default_cache().unwrap(), Flavour::Generic);
        let debian = image::debian::prepare(&request, &mut Silent).unwrap();
        let mut builder = debian.builder().unwrap();
        image::add_packages(&mut builder, &request, &["curl", "iperf3"], &mut Silent).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let initramfs = directory.path().join("initramfs");
        std::fs::write(&initramfs, builder.build().unwrap()).unwrap();
        Guest { kernel: debian.kernel, initramfs, _directory: directory }
    })
}

/// Runs a script in a guest on `net`, which must end well; gives what it printed.
fn run(net: &str, script: &str) -> String {
    run_by(myvmm([""; 0]), net, script)
}

/// The same by `command`, which runs myvmm with the arguments that it is given.
fn run_by(mut command: Command, net: &str, script: &str) -> String {
    let Guest { kernel, initramfs, .. } = guest();
    // Longer scripts than the kernel's command line has room for are on a disk.
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{script}\n{NOTHING_LOST}\nexit 0\n")).unwrap();
    file.as_file().set_len(4096).unwrap();
    let disk = format!("{},ro,format=raw", file.path().display());
    let words = format!(
        "console=ttyS0 quiet {}",
        image::run_word("tr -d '\\0' < /dev/vda > /script; . /script").unwrap()
    );
    command.args(["run", "--mem", "1G", "--net", net, "--disk", &disk, "--no-reboot"]);
    command.arg("--kernel").arg(kernel).arg("--initrd").arg(initramfs).args(["--append", &words]);
    let output = command.output().unwrap();
    let printed = text(&output.stdout);
    assert!(printed.contains("myvmm: exit 0"), "{printed}\n{}", text(&output.stderr));
    printed
}

/// A program that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// iperf3 on the host, on a port that it tells.
fn iperf_server() -> (Running, u16) {
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
    let mut command = Command::new("iperf3");
    command.args(["--server", "--port", &port.to_string()]).stdout(Stdio::null());
    let server = Running(
        command.spawn().unwrap_or_else(|error| panic!("iperf3: {error}; install the package iperf3")),
    );
    let begun = Instant::now();
    while std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        assert!(begun.elapsed() < Duration::from_secs(30), "iperf3 does not listen");
        thread::sleep(Duration::from_millis(20));
    }
    (server, port)
}

/// Commands of the guest that move bytes by connections, each way, and datagrams.
fn traffic(server: &str, port: u16) -> String {
    let client = format!("iperf3 -c {server} -p {port}");
    format!(
        "{client} -n 40M && {client} -R -n 40M || exit 1
        {client} -u -b 20M -n 2M && {client} -R -u -b 20M -n 2M || exit 1"
    )
}

/// One receiver's line for each of the four. By the word of the receiver a part is still on its way when the sender is
/// done, and iperf3 does not wait for it.
fn assert_received(printed: &str) {
    let lines: Vec<&str> = printed.lines().filter(|line| line.trim_end().ends_with("receiver")).collect();
    assert_eq!(lines.len(), 4, "{printed}");
    for (line, least) in lines.iter().zip([30.0, 30.0, 1.0, 1.0]) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words
            .iter()
            .position(|word| *word == "MBytes")
            .unwrap_or_else(|| panic!("almost nothing: {line}"));
        assert!(words[at - 1].parse::<f64>().unwrap() > least, "too little arrived: {line}");
    }
}

#[test]
fn curl_fetches_a_hundred_megabytes() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let content: Vec<u8> =
        (0..25_000_000u32).flat_map(|at| at.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &content).unwrap();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let length = stream.read(&mut [0; 4096]).unwrap();
        assert!(length > 0, "curl asks for something");
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", content.len()).unwrap();
        stream.write_all(&content).unwrap();
    });
    let script = format!("ip addr show eth0; curl -sS http://10.0.2.2:{port}/file | sha256sum");
    let printed = run("user", &script);
    server.join().unwrap();
    let summed = Command::new("sha256sum").arg(file.path()).output().unwrap();
    assert!(printed.contains("inet 10.0.2.15/24"), "{printed}");
    assert!(printed.contains(&text(&summed.stdout)[..64]), "{printed}");
}

#[test]
fn the_user_network_carries_iperf_both_ways() {
    let (_server, port) = iperf_server();
    assert_received(&run("user", &traffic("10.0.2.2", port)));
}

#[test]
fn two_guests_ping_and_iperf_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let end = |kind: &str| format!("socket,{kind}={}", directory.path().join("cable").display());
    let address = |number| format!("ip addr add 192.0.2.{number}/24 dev eth0; ip link set eth0 up");
    let listen = end("listen");
    let server = format!("{}; iperf3 -s -1; iperf3 -s -1; iperf3 -s -1; iperf3 -s -1", address(1));
    let near = thread::spawn(move || run(&listen, &server));
    let client = format!(
        "{}
        until ping -c 1 -W 1 192.0.2.1 | grep ' 0% packet loss'; do :; done
        # Each of the servers takes a while to begin.
        iperf3() {{ until command iperf3 \"$@\"; do sleep 1; done; }}
        {}",
        address(2),
        traffic("192.0.2.1", IPERF_PORT)
    );
    let printed = run(&end("connect"), &client);
    assert!(printed.contains(" 0% packet loss"), "{printed}");
    assert_received(&printed);
    near.join().unwrap();
}

/// What runs a machine beside a tap device with an address, and iperf3, in a name space in which it is as root; tells then
/// what has become of the device.
const BESIDE_TAP: &str = "
    ip link set lo up && ip tuntap add dev tap0 mode tap vnet_hdr && ip addr add 198.51.100.1/24 dev tap0 &&
        ip link set tap0 up || exit
    iperf3 --server > /dev/null & trap \"kill $!\" EXIT
    \"$0\" \"$@\"
    ip link show tap0";

#[test]
fn a_tap_device_carries_iperf_with_offloads() {
    let mut host = Command::new("unshare");
    host.args(["--map-root-user", "--net", "sh", "-c", BESIDE_TAP]).arg(myvmm([""; 0]).get_program());
    let script = format!(
        "ip addr add 198.51.100.2/24 dev eth0; ip link set eth0 up
        {}
        echo mean $(($(cat /sys/class/net/eth0/statistics/rx_bytes) / $(cat /sys/class/net/eth0/statistics/rx_packets)))",
        traffic("198.51.100.1", IPERF_PORT)
    );
    let printed = run_by(host, "tap,name=tap0", &script);
    assert_received(&printed);
    // What the host's kernel sends is not cut into frames of 1514 bytes.
    let mean = printed.lines().find_map(|line| line.trim().strip_prefix("mean ")?.parse::<u32>().ok());
    assert!(mean.is_some_and(|mean| mean > 3000), "{mean:?} bytes a frame");
    assert!(printed.contains("tap0: <"), "the device outlives the machine: {printed}");
}
