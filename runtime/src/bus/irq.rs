//! Interrupt wires. A source holds an [`IrqLine`] and knows nothing of what it is wired to.

use std::sync::Arc;

/// Whatever an interrupt line ends at: an interrupt controller or a vCPU.
pub trait IrqSink: Send + Sync {
    /// Sets input `pin` to `level`. Called from any thread; must not block on a vCPU.
    fn set(&self, pin: u32, level: bool);
}

/// One wire from a device to an input of an interrupt controller or vCPU.
#[derive(Clone)]
pub struct IrqLine {
    sink: Arc<dyn IrqSink>,
    pin: u32,
}

impl IrqLine {
    /// Joins the wire to input `pin` of `sink`.
    pub fn new(sink: Arc<dyn IrqSink>, pin: u32) -> Self {
        Self { sink, pin }
    }

    /// Drives the wire; setting the level that it has already changes nothing.
    pub fn set(&self, level: bool) {
        self.sink.set(self.pin, level);
    }
}
