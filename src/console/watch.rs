//! Reads along with what the guest prints, for the few lines that mean something to myvmm. It must not know where the
//! bytes go.

/// The first words of the Linux kernel's last message (kernel/panic.c `panic`).
const PANIC: &str = "Kernel panic - not syncing: ";
/// What the kernel says before an ordered restart (kernel/reboot.c `kernel_restart`). A restart out of a panic goes
/// another way and does not say it, so a panic's words before it were only quoted, as by `dmesg`.
const RESTART: &str = "reboot: Restarting system";
/// What the guest's image prints at the end of a script; see [`image::run_word`].
const SCRIPT_END: &str = "myvmm: exit ";

/// Longer lines are looked at by their end. The kernel's message follows whatever a program has left on the line.
const LONGEST_LINE: usize = 4096;

/// What was seen of one machine's output since it started.
#[derive(Debug, Default)]
pub struct Watch {
    line: Vec<u8>,
    /// Whether anything was printed.
    pub spoke: bool,
    /// The last message of a kernel that panicked.
    pub panic: Option<String>,
    /// The status of the script that the image ran.
    pub script_status: Option<u8>,
}

impl Watch {
    /// Looks at more of the output.
    pub fn see(&mut self, bytes: &[u8]) {
        self.spoke |= !bytes.is_empty();
        for byte in bytes {
            match byte {
                b'\n' => self.end_line(),
                _ => self.line.push(*byte),
            }
            if self.line.len() > LONGEST_LINE {
                self.line.drain(..LONGEST_LINE / 2);
            }
        }
    }

    /// Whether the output stopped within a line.
    pub fn is_within_line(&self) -> bool {
        !self.line.is_empty()
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if let Some((_, message)) = line.rsplit_once(PANIC) {
            // The first message tells; the line that ends the report repeats it.
            self.panic.get_or_insert_with(|| message.to_owned());
        } else if line.contains(RESTART) {
            self.panic = None;
        } else if let Some((_, status)) = line.rsplit_once(SCRIPT_END) {
            self.script_status = status.parse().ok().or(self.script_status);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(text: &str) -> Watch {
        let mut watch = Watch::default();
        text.as_bytes().chunks(3).for_each(|bytes| watch.see(bytes));
        watch
    }

    #[test]
    fn a_panic_is_told_by_its_first_line() {
        let watch = seen(
            "# [    1.5] Kernel panic - not syncing: Attempted to kill init! exitcode=0x00000100\r\n\
             [    1.6] ---[ end Kernel panic - not syncing: Attempted to kill init! ]---\r\n",
        );
        assert_eq!(watch.panic.as_deref(), Some("Attempted to kill init! exitcode=0x00000100"));
    }

    #[test]
    fn a_quoted_panic_before_a_reboot_is_none() {
        let quoted = "Kernel panic - not syncing: old news\n# reboot\n[    9.0] reboot: Restarting system\n";
        assert_eq!(seen(quoted).panic, None);
    }

    #[test]
    fn the_last_status_of_a_script_counts_wherever_it_begins() {
        assert_eq!(seen("myvmm: exit 3\nno newlinemyvmm: exit 7\r\nbye").script_status, Some(7));
        assert_eq!(seen("myvmm: exit 3\n\nmyvmm: exit 7").script_status, Some(3));
        assert_eq!(seen("myvmm: exit 256\nmyvmm: exit\n").script_status, None);
    }

    #[test]
    fn an_endless_line_takes_no_endless_memory() {
        let watch = seen(&"x".repeat(3 * LONGEST_LINE));
        assert!(watch.line.len() <= LONGEST_LINE && watch.is_within_line());
        let watch = seen(&("x".repeat(2 * LONGEST_LINE) + "Kernel panic - not syncing: late\n"));
        assert_eq!(watch.panic.as_deref(), Some("late"));
    }
}
