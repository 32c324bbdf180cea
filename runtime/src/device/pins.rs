//! What an interrupt controller drives: the hardware interrupt pins of the vCPUs. It must not know
//! how a vCPU is interrupted.

/// The hardware interrupt inputs of every vCPU of a machine.
pub trait VcpuPins: Send + Sync {
    /// Sets interrupt pin `pin` of vCPU `vcpu` to `level`; pin 0 is Cause.IP2, pin 5 is IP7. Called
    /// from any thread with the controller's lock held: it must not block, nor touch the controller.
    fn set(&self, vcpu: usize, pin: u32, level: bool);
}

/// The way out of reset for vCPUs other than the first.
pub trait VcpuStart: Send + Sync {
    /// Starts vCPU `vcpu` at virtual address `reset_base` (sign-extended) with its registers as
    /// after reset. Called on another vCPU's thread, in the middle of a store.
    fn start(&self, vcpu: usize, reset_base: u64);
}
