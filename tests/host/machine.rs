//! A small machine within this process, and what its guest prints. It must not know what the guest does.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use runtime::drive::Schedule;
use runtime::observe::Watching;
use runtime::vcpu::Engine;
use runtime::vm::Config;

use super::text;

/// Bytes of RAM of the machine.
pub const RAM: u64 = 2 << 20;

/// What a guest has printed.
#[derive(Clone, Default)]
pub struct Printed(Arc<Mutex<Vec<u8>>>);

impl Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Printed {
    pub fn text(&self) -> String {
        text(&self.0.lock().unwrap())
    }
}

/// A machine with two vCPUs and no devices but the serial port.
pub fn config(kernel: &Path, engine: Engine) -> Config {
    Config {
        name: "test".to_owned(),
        kernel: kernel.into(),
        initrd: None,
        command_line: String::new(),
        ram: RAM,
        vcpus: 2,
        model: &translator::model::MIPS64R2,
        schedule: Schedule::Threads,
        engine,
        watching: Watching::default(),
        disks: Vec::new(),
        cards: Vec::new(),
        consoles: Vec::new(),
    }
}
