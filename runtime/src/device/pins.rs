//! What an interrupt controller drives: the hardware interrupt pins of the vCPUs; and what the
//! controllers of cores do: start and stop them. It must not know how a vCPU is interrupted or run.

/// The hardware interrupt inputs of every vCPU of a machine.
pub trait VcpuPins: Send + Sync {
    /// Sets interrupt pin `pin` of vCPU `vcpu` to `level`; pin 0 is Cause.IP2, pin 5 is IP7. Called
    /// from any thread with the controller's lock held: it must not block, nor touch the controller.
    fn set(&self, vcpu: usize, pin: u32, level: bool);
}

/// What turns vCPUs on and off; the first one is on from the beginning.
pub trait VcpuPower: Send + Sync {
    /// Starts vCPU `vcpu` at virtual address `reset_base` (sign-extended) with its registers as
    /// after reset. Called on a vCPU's thread, in the middle of a store.
    fn start(&self, vcpu: usize, reset_base: u64);

    /// Stops vCPU `vcpu` until it is started again, at its next settled point. Called on a vCPU's thread,
    /// also on its own, in the middle of a store.
    fn stop(&self, vcpu: usize);
}
