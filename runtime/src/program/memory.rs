//! A program's memory as the services see it: strings and buffers at guest addresses. It must not know
//! what they are for.

use translator::addr::Pa;

use crate::machine::Machine;
use crate::memory::WriteNotice as _;

/// There is no memory at this address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory(pub u64);

/// The longest string that is read: more is a string without an end.
const MAX_STRING: u64 = 16 << 20;

/// The string at `address`, without its zero.
pub fn string(machine: &Machine, address: u64) -> Result<Vec<u8>, NoMemory> {
    let mut bytes = Vec::new();
    for offset in 0..MAX_STRING {
        let at = address.wrapping_add(offset);
        match machine.ram.load(physical(at)?, 1).ok_or(NoMemory(at))? {
            0 => return Ok(bytes),
            byte => bytes.push(byte as u8),
        }
    }
    Err(NoMemory(address.wrapping_add(MAX_STRING)))
}

/// The `length` bytes at `address`.
pub fn read(machine: &Machine, address: u64, length: usize) -> Result<Vec<u8>, NoMemory> {
    let pa = check(machine, address, length)?;
    let mut bytes = vec![0; length];
    machine.ram.read(pa, &mut bytes).ok_or(NoMemory(address))?;
    Ok(bytes)
}

/// Checks that there is memory for `length` bytes at `address`.
pub fn check(machine: &Machine, address: u64, length: usize) -> Result<Pa, NoMemory> {
    let pa = physical(address)?;
    if machine.ram.contains(pa, length as u64) { Ok(pa) } else { Err(NoMemory(address)) }
}

/// Writes `bytes` at `address`, and drops what was translated from there.
pub fn write(machine: &Machine, address: u64, bytes: &[u8]) -> Result<(), NoMemory> {
    let pa = check(machine, address, bytes.len())?;
    machine.write_watch.before_write(&machine.pages, pa, bytes.len() as u64);
    machine.ram.write(pa, bytes).ok_or(NoMemory(address))?;
    machine.written(pa, bytes.len() as u64);
    Ok(())
}

fn physical(address: u64) -> Result<Pa, NoMemory> {
    let is_canonical = address as i32 as u64 == address;
    if is_canonical { Ok(Pa(u64::from(address as u32))) } else { Err(NoMemory(address)) }
}
