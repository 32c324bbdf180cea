//! The system calls of a process that runs machines: one table, each row with its reason. Everything else fails with
//! EPERM. It must not know which files may be opened.

use std::collections::BTreeMap;

use anyhow::Context as _;
use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter_all_threads,
};

use super::Needs;

/// With which arguments a system call is allowed.
enum Allowed {
    Always,
    /// Argument `.0`, without the bits outside of `.1`, is `.2`.
    Bits(u8, u64, u64),
    /// Argument `.0` is one of these numbers of 32 bits.
    Among(u8, &'static [u64]),
    /// Argument `.0` is no address.
    Null(u8),
    /// Argument `.0` is the number of this process.
    OnSelf(u8),
    /// As `Among`, if the process has sockets of the Internet protocols.
    Internet(u8, &'static [u64]),
    /// As `Among`, if it has sockets with names in the file system.
    Local(u8, &'static [u64]),
    /// If it has sockets of either kind.
    Sockets,
    /// As `Among`, if it attaches to network devices of the kernel.
    Taps(u8, &'static [u64]),
}

use Allowed::{Always, Among, Bits, Internet, Local, Null, OnSelf, Sockets, Taps};

const WRITE: u64 = libc::PROT_WRITE as u64;
const EXECUTE: u64 = libc::PROT_EXEC as u64;
/// Both are set for a thread, and one of them is not for a process.
const THREAD: u64 = (libc::CLONE_VM | libc::CLONE_THREAD) as u64;
const TERMINAL: &[u64] = &[
    libc::TCGETS,
    libc::TCSETS,
    libc::TCSETSW,
    libc::TCSETSF,
    libc::TCGETS2,
    libc::TCSETS2,
    libc::TCSETSW2,
    libc::TCSETSF2,
    libc::TIOCGWINSZ,
    libc::TIOCGPGRP,
];
const READINESS: &[u64] = &[libc::FIONBIO, libc::FIONREAD, libc::FIOCLEX];
const TAP: &[u64] = &[libc::TUNSETIFF, libc::TUNSETVNETHDRSZ, libc::TUNSETOFFLOAD];
const LOCAL: u64 = libc::AF_UNIX as u64;
const INTERNET: &[u64] = &[libc::AF_INET as u64, libc::AF_INET6 as u64];
const NAMES: &[u64] = &[libc::PR_SET_NAME as u64, libc::PR_SET_VMA as u64];

/// What is allowed, why, and with which arguments. Several rows for one call are alternatives.
const TABLE: &[(c_long, Allowed, &str)] = &[
    // Memory. No page is both written and executed.
    (libc::SYS_brk, Always, "the allocator"),
    (libc::SYS_mmap, Bits(2, EXECUTE, 0), "the allocator, RAM, stacks of threads"),
    (libc::SYS_mmap, Bits(2, WRITE, 0), "the code cache's executable view, when a machine reboots"),
    (libc::SYS_mprotect, Bits(2, EXECUTE, 0), "the allocator, guard pages"),
    (libc::SYS_munmap, Always, "the allocator, machines that end"),
    (libc::SYS_mremap, Always, "the allocator, the code cache's writable view"),
    (libc::SYS_madvise, Always, "the allocator, pages of RAM that are given back"),
    (libc::SYS_memfd_create, Always, "RAM of a machine that reboots"),
    (libc::SYS_membarrier, Always, "code that other vCPUs may run"),
    // Files. Landlock says which.
    (libc::SYS_openat, Always, "kernels, snapshots, files of programs"),
    (libc::SYS_read, Always, "console, files"),
    (libc::SYS_readv, Always, "files"),
    (libc::SYS_pread64, Always, "disks, snapshots"),
    (libc::SYS_preadv, Always, "disks"),
    (libc::SYS_preadv2, Always, "disks"),
    (libc::SYS_write, Always, "console, files"),
    (libc::SYS_writev, Always, "messages, files"),
    (libc::SYS_pwrite64, Always, "disks"),
    (libc::SYS_pwritev, Always, "disks"),
    (libc::SYS_pwritev2, Always, "disks"),
    (libc::SYS_lseek, Always, "files of programs, holes in disks"),
    (libc::SYS_ftruncate, Always, "RAM, disks"),
    (libc::SYS_fallocate, Always, "disks: zeros, discarded blocks, holes in RAM"),
    (libc::SYS_fsync, Always, "disks, snapshots"),
    (libc::SYS_fdatasync, Always, "disks"),
    (libc::SYS_sync_file_range, Always, "disks"),
    (libc::SYS_access, Always, "whether a file is there"),
    (libc::SYS_faccessat, Always, "whether a file is there"),
    (libc::SYS_faccessat2, Always, "whether a file is there"),
    (libc::SYS_fstat, Always, "files"),
    (libc::SYS_newfstatat, Always, "files"),
    (libc::SYS_statx, Always, "files"),
    (libc::SYS_fcntl, Always, "locks of disks, sockets that do not wait"),
    (libc::SYS_flock, Always, "locks of files"),
    (libc::SYS_fchmod, Always, "snapshots"),
    (libc::SYS_close, Always, "files"),
    (libc::SYS_getcwd, Always, "full names of files"),
    (libc::SYS_readlink, Always, "full names of files"),
    (libc::SYS_readlinkat, Always, "full names of files"),
    (libc::SYS_rename, Always, "files that were written aside"),
    (libc::SYS_renameat, Always, "files that were written aside"),
    (libc::SYS_renameat2, Always, "files that were written aside"),
    (libc::SYS_linkat, Always, "disks that came with their guest, which get their names"),
    (libc::SYS_unlink, Always, "files that were written aside, sockets"),
    (libc::SYS_unlinkat, Always, "files that were written aside"),
    (libc::SYS_dup, Always, "standard streams"),
    (libc::SYS_ioctl, Among(1, TERMINAL), "the terminal of the console"),
    (libc::SYS_ioctl, Among(1, READINESS), "sockets that do not wait"),
    (libc::SYS_ioctl, Taps(1, TAP), "network devices, when a machine reboots"),
    // Waiting.
    (libc::SYS_poll, Always, "console"),
    (libc::SYS_ppoll, Always, "console"),
    (libc::SYS_epoll_create1, Always, "the user network"),
    (libc::SYS_epoll_ctl, Always, "the user network"),
    (libc::SYS_epoll_wait, Always, "the user network"),
    (libc::SYS_epoll_pwait, Always, "the user network"),
    (libc::SYS_eventfd2, Always, "calling the user network's thread"),
    (libc::SYS_pipe2, Always, "calling a thread"),
    (libc::SYS_nanosleep, Always, "programs that sleep"),
    (libc::SYS_clock_nanosleep, Always, "programs that sleep"),
    (libc::SYS_futex, Always, "locks, threads that wait"),
    (libc::SYS_restart_syscall, Always, "waits after a stop"),
    (libc::SYS_sched_yield, Always, "locks"),
    // Time, where the kernel's page for it cannot be read.
    (libc::SYS_clock_gettime, Always, "clocks of guests, processor time"),
    (libc::SYS_gettimeofday, Always, "clocks"),
    (libc::SYS_time, Always, "clocks"),
    // Threads, never processes; clone3 cannot be looked into, and the C library then uses clone.
    (libc::SYS_clone, Bits(0, THREAD, THREAD), "a thread a vCPU and device"),
    (libc::SYS_set_robust_list, Always, "start of a thread"),
    (libc::SYS_rseq, Always, "start of a thread"),
    (libc::SYS_sched_getaffinity, Always, "start of a thread: the bounds of its stack"),
    (libc::SYS_prctl, Among(0, NAMES), "names of threads and of memory"),
    (libc::SYS_gettid, Always, "names of threads"),
    (libc::SYS_getpid, Always, "signals to the process itself"),
    (libc::SYS_exit, Always, "end of a thread"),
    (libc::SYS_exit_group, Always, "end of the process"),
    (libc::SYS_getrandom, Always, "the guest's random numbers, hash tables, names of files"),
    (libc::SYS_sysinfo, Always, "the allocator"),
    (libc::SYS_uname, Always, "the C library"),
    // Without an address of new limits it only tells the old ones.
    (libc::SYS_prlimit64, Null(2), "start of a thread: the size of its stack"),
    // Signals.
    (libc::SYS_rt_sigaction, Always, "the default action, to end as a signal asks"),
    (libc::SYS_rt_sigprocmask, Always, "start of a thread"),
    (libc::SYS_rt_sigreturn, Always, "end of a handler"),
    (libc::SYS_sigaltstack, Always, "start of a thread"),
    (libc::SYS_kill, OnSelf(0), "to stop or end as a signal asks"),
    (libc::SYS_tgkill, OnSelf(0), "to stop or end as a signal asks"),
    (libc::SYS_getppid, Always, "job control"),
    (libc::SYS_getpgid, Always, "job control"),
    (libc::SYS_getpgrp, Always, "job control"),
    // Sockets. A pair without a name reaches nobody else: signals come by one.
    (libc::SYS_socketpair, Among(0, &[LOCAL]), "signals"),
    (libc::SYS_sendto, Always, "signals, the user network"),
    (libc::SYS_recvfrom, Always, "signals, the user network"),
    (libc::SYS_socket, Internet(0, INTERNET), "the user network, guests that move"),
    (libc::SYS_socket, Local(0, &[LOCAL]), "cables between machines"),
    (libc::SYS_connect, Sockets, "the user network, cables"),
    (libc::SYS_bind, Sockets, "forwarded ports, UDP, cables"),
    (libc::SYS_listen, Sockets, "forwarded ports, cables"),
    (libc::SYS_accept4, Always, "clients of the control socket, forwarded ports, cables"),
    (libc::SYS_getsockname, Sockets, "addresses of connections"),
    (libc::SYS_getpeername, Sockets, "addresses of connections"),
    (libc::SYS_getsockopt, Sockets, "errors of connections"),
    (libc::SYS_setsockopt, Sockets, "connections without delay"),
    (libc::SYS_shutdown, Always, "clients of the control socket, ends of connections"),
    (libc::SYS_sendmsg, Sockets, "the user network"),
    (libc::SYS_recvmsg, Sockets, "the user network"),
];

/// Confines all threads of the process to the table, for good.
///
/// # Errors
/// Fails if the kernel has no seccomp.
pub fn confine(needs: &Needs) -> anyhow::Result<()> {
    const ABSENT: u32 = libc::ENOSYS as u32;
    const FORBIDDEN: u32 = libc::EPERM as u32;
    let (allow, errno) = (SeccompAction::Allow, SeccompAction::Errno);
    let no_clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let clone3 = program(no_clone3, SeccompAction::Allow, errno(ABSENT))?;
    let mut table = rules(needs)?;
    // The filter above has answered already, and the stricter answer of both wins.
    table.insert(libc::SYS_clone3, Vec::new());
    let others = program(table, errno(FORBIDDEN), allow)?;
    for filter in [&clone3, &others] {
        apply_filter_all_threads(filter).context("the kernel does not confine system calls")?;
    }
    Ok(())
}

fn program(
    rules: BTreeMap<c_long, Vec<SeccompRule>>,
    mismatch: SeccompAction,
    matched: SeccompAction,
) -> anyhow::Result<BpfProgram> {
    let filter = SeccompFilter::new(rules, mismatch, matched, TargetArch::x86_64)?;
    Ok(filter.try_into()?)
}

/// The table as the filter's rules: an empty list allows a call with all arguments.
fn rules(needs: &Needs) -> anyhow::Result<BTreeMap<c_long, Vec<SeccompRule>>> {
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> = BTreeMap::new();
    for (number, allowed, _) in TABLE {
        let alternatives = match allowed {
            Always => Vec::new(),
            Sockets if needs.network || needs.local_sockets => Vec::new(),
            Internet(argument, values) if needs.network => equal(*argument, values)?,
            Local(argument, values) if needs.local_sockets => equal(*argument, values)?,
            Taps(argument, values) if needs.taps => equal(*argument, values)?,
            Sockets | Internet(..) | Local(..) | Taps(..) => continue,
            Bits(argument, mask, value) => {
                vec![rule(*argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(*mask), *value)?]
            }
            Null(argument) => vec![rule(*argument, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?],
            Among(argument, values) => equal(*argument, values)?,
            OnSelf(argument) => equal(*argument, &[u64::from(std::process::id())])?,
        };
        rules.entry(*number).or_default().extend(alternatives);
    }
    Ok(rules)
}

fn equal(argument: u8, values: &[u64]) -> anyhow::Result<Vec<SeccompRule>> {
    let equal = |value: &u64| rule(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, *value);
    values.iter().map(equal).collect()
}

fn rule(
    argument: u8,
    length: SeccompCmpArgLen,
    operation: SeccompCmpOp,
    value: u64,
) -> anyhow::Result<SeccompRule> {
    let condition = SeccompCondition::new(argument, length, operation, value)?;
    Ok(SeccompRule::new(vec![condition])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_allowed_with_all_arguments_or_with_some() {
        for (number, allowed, why) in TABLE {
            assert!(!why.is_empty());
            let same = TABLE.iter().filter(|row| row.0 == *number).count();
            assert!(same == 1 || !matches!(allowed, Always | Sockets), "call {number} has a row too many");
        }
    }

    #[test]
    fn sockets_are_there_for_those_who_need_them() {
        let has = |needs: &Needs, number| rules(needs).unwrap().contains_key(&number);
        let (none, network) = (Needs::default(), Needs { network: true, ..Needs::default() });
        assert!(!has(&none, libc::SYS_socket) && !has(&none, libc::SYS_connect));
        assert!(has(&network, libc::SYS_socket) && has(&network, libc::SYS_connect));
        for never in
            [libc::SYS_execve, libc::SYS_execveat, libc::SYS_ptrace, libc::SYS_fork, libc::SYS_io_uring_setup]
        {
            assert!(!has(&network, never));
        }
    }
}
