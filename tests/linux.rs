//! An unmodified Debian kernel on the whole machine: what its processor and board look like to it, and that a person
//! can work with it. Needs apt and the network the first time, and fails with a sentence where they are missing.

mod host;

use std::process::Child;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use host::pty::{Pty, wait};
use host::{guest, myvmm, text};
use image::{Flavour, Request, Silent};

/// Several times what an interpreted boot takes on a slow and busy host.
const PATIENCE: Duration = Duration::from_secs(120);
const PROMPT: &str = "myvmm:~# ";

/// What the machine must show of itself; each line of output is looked for below.
const SCRIPT: &str = r#"
uname -a
cat /proc/cpuinfo
dmesg | grep 'Page Table Walker'
echo "sys $(ls -R /sys | wc -l)"
awk 'BEGIN { for (i = 1; i <= 1000; i++) x += 1 / (i * i); printf "sum %.15f\n", x }'
trap 'echo caught' USR1
kill -USR1 $$
sleep 1000 & kill $!; wait $!; echo "killed $?"
dd if=/dev/zero bs=1k count=2k 2> /dev/null | md5sum
exit 7
"#;

/// Makes sure, once, that there is something to boot.
fn prepare() {
    static READY: OnceLock<Result<(), String>> = OnceLock::new();
    let made = READY.get_or_init(|| {
        let cache = image::default_cache().map_err(|error| error.to_string())?;
        let request = Request::new(cache, Flavour::Generic);
        image::debian::prepare(&request, &mut Silent).map(drop).map_err(|error| error.to_string())
    });
    made.as_ref().unwrap_or_else(|error| panic!("There is no Debian guest to test with: {error}"));
}

/// Runs the script, and checks what the machine shows of itself.
fn the_machine_shows_itself(engine: &str) {
    prepare();
    let output = myvmm(["debian", "--engine", engine, "--run", SCRIPT]).output().unwrap();
    let (shown, said) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(7), "{said}\n{shown}");
    assert!(said.is_empty(), "{said}");
    let sum: f64 = (1..=1000).map(|i| 1.0 / f64::from(i * i)).sum();
    let expected = [
        "Linux myvmm 6.",
        "mips64r2",
        "Hardware Page Table Walker enabled",
        &format!("sum {sum:.15}"),
        "caught",
        "killed 143",
        // Two megabytes of zeros.
        "b2d1236c286a3c0704224fe4105eca49  -",
        "myvmm: exit 7",
    ];
    for line in expected {
        assert!(shown.contains(line), "no `{line}` in:\n{shown}");
    }
    assert_processor_features(&shown);
    let files = shown.lines().find_map(|line| line.strip_prefix("sys ")?.trim().parse().ok());
    assert!(files > Some(1000), "{files:?} lines in /sys");
}

/// What the kernel must find at the processor, so that it asks little of a translator.
fn assert_processor_features(shown: &str) {
    let field = |name: &str| {
        let line = shown.lines().find(|line| line.starts_with(name));
        line.and_then(|line| line.split_once(':')).map_or("", |(_, value)| value)
    };
    assert!(field("ASEs implemented").split_whitespace().any(|word| word == "htw"));
    let options: Vec<&str> = field("Options implemented").split_whitespace().collect();
    for option in ["tlb", "tlbinv", "rixi", "userlocal", "llsc", "fpu"] {
        assert!(options.contains(&option), "no {option} in {options:?}");
    }
    assert_eq!(field("kscratch registers").trim(), "6");
}

#[test]
fn the_machine_shows_itself_with_the_usual_engine() {
    the_machine_shows_itself("auto");
}

#[test]
fn the_machine_shows_itself_interpreted() {
    the_machine_shows_itself("interp");
}

/// A line for a shell that makes a program of `bytes` as /tmp/`name`.
fn making(name: &str, bytes: &[u8]) -> String {
    let octal: String = bytes.iter().map(|byte| format!("\\{byte:03o}")).collect();
    format!("printf '{octal}' > /tmp/{name}; chmod +x /tmp/{name}\n")
}

#[test]
fn a_program_in_the_guest_has_the_machine_saved_where_the_user_allows_it() {
    prepare();
    let directory = tempfile::tempdir().unwrap();
    let good = making("good", &guest::asking_program("own.snap"));
    let bad = making("bad", &guest::asking_program("../own.snap"));
    let script = format!(
        "{good}{bad}/tmp/bad; echo \"bad $?\"; /tmp/good; echo \"good $?\"\n\
         echo \"time $(cat /sys/class/rtc/rtc0/since_epoch)\""
    );
    let run = |arguments: &[&std::ffi::OsStr]| {
        let output = myvmm(["debian", "--mem", "128M", "--net", "none"]).args(arguments).output().unwrap();
        text(&output.stdout)
    };
    let shown = run(&["--run".as_ref(), script.as_ref()]);
    // It is an illegal instruction.
    assert!(shown.contains("bad 132") && shown.contains("good 132"), "{shown}");
    let shown = run(&["--run".as_ref(), script.as_ref(), "--snapshots".as_ref(), directory.path().as_ref()]);
    // 256 - EINVAL.
    assert!(shown.contains("bad 234") && shown.contains("good 0"), "{shown}");
    // The guest's clock chip shows the host's time, however long nobody ran the guest.
    std::thread::sleep(Duration::from_secs(2));
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let before = now();
    let mut again = myvmm(["run", "--net", "none", "--restore"]);
    let output = again.arg(directory.path().join("own.snap")).output().unwrap();
    let shown = text(&output.stdout);
    assert!(shown.contains("good 1") && !shown.contains("bad"), "{shown}{}", text(&output.stderr));
    let time = shown.lines().find_map(|line| line.strip_prefix("time ")?.trim().parse().ok());
    assert!(time.is_some_and(|time| (before..=now()).contains(&time)), "{before} {shown}");
}

/// A person at a terminal with the guest on it.
struct Person {
    pty: Pty,
    child: Child,
}

impl Person {
    fn sit_down() -> Self {
        prepare();
        let pty = Pty::open();
        let child = pty.start(&myvmm(["debian"]));
        Self { pty, child }
    }

    fn say(&mut self, command: &str) {
        self.pty.expect(PROMPT, PATIENCE);
        self.pty.write(command.to_owned() + "\r");
    }

    /// Waits until the guest has shown `text`. The shell echoes commands, so that they should not hold it.
    fn see(&mut self, text: &str) {
        self.pty.expect(text, PATIENCE);
    }

    /// Types what programs read by the time between keys.
    fn type_slowly(&mut self, pieces: &[&str]) {
        for piece in pieces {
            std::thread::sleep(Duration::from_secs(1));
            self.pty.write(piece);
        }
    }
}

#[test]
fn a_person_can_work_reboot_and_survive_a_panic() {
    let mut person = Person::sit_down();
    person.say("echo st''arted; sleep 1000");
    person.see("started");
    person.type_slowly(&["\x03"]);
    person.say("echo $((6 * 7)) li''ves; sleep 1000");
    person.see("42 lives");
    person.type_slowly(&["\x1a"]);
    person.see("Stopped");
    person.say("kill %1; fg; ps");
    person.see("ps");
    person.say("vi /tmp/note");
    person.see("- /tmp/note");
    person.type_slowly(&["ihello", "\x1b", ":wq\r"]);
    person.say("tr a-z A-Z < /tmp/note");
    person.see("HELLO");
    person.say("reboot");
    person.see("Restarting system");
    person.see("Welcome");
    person.say("ls /tmp/note");
    person.see("No such file");
    assert!(person.pty.is_raw());
    person.say("echo c > /proc/sysrq-trigger");
    person.see("Kernel panic");
    assert_eq!(wait(&mut person.child, PATIENCE).code(), Some(3), "{}", person.pty.transcript);
    assert!(!person.pty.is_raw());
}
