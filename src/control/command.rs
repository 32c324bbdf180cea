//! The commands that clients can give, and what each does. It must not know how they come in.

use std::path::PathBuf;
use std::sync::Arc;

use runtime::vm::snapshots::Form;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::migration::{Order, Parameters};
use super::protocol::{Arguments, Failure, version};
use super::target::Controlled;
use crate::excerpt::Excerpt;

type Result = std::result::Result<Value, Failure>;
type Body = fn(&Arc<Controlled>, Arguments) -> Result;

/// Every command by its name: QEMU's with the meaning that they have there, and our own.
const COMMANDS: [(&str, Body); 25] = [
    ("cont", |vm, arguments| none(arguments).and_then(|()| vm.set_paused(false)).map(done)),
    ("human-monitor-command", |_, _| Err(Failure::new("There is no human monitor; see query-commands"))),
    ("migrate", |vm, arguments| {
        let order = parse::<Order>(arguments)?;
        let with_disks = order.x_myvmm_with_disk;
        let (way, name) = order.way()?;
        vm.migrate(Arc::new(way), name, with_disks).map(done)
    }),
    ("migrate-set-parameters", |vm, arguments| {
        vm.set_terms(|terms| parse::<Parameters>(arguments).map(|change| change.apply(terms))).map(done)
    }),
    ("migrate_cancel", |vm, arguments| none(arguments).map(|()| vm.cancel_migration()).map(done)),
    ("query-block", |vm, arguments| none(arguments).map(|()| vm.target.disks())),
    ("query-commands", |_, arguments| none(arguments).map(|()| names())),
    ("query-cpus-fast", |vm, arguments| none(arguments).map(|()| cpus(vm))),
    ("query-migrate", |vm, arguments| none(arguments).map(|()| vm.migration())),
    ("query-migrate-parameters", |vm, arguments| none(arguments).map(|()| vm.migration_parameters())),
    ("query-name", |vm, arguments| none(arguments).map(|()| json!({ "name": vm.name }))),
    ("query-status", |vm, arguments| none(arguments).map(|()| status(vm))),
    ("query-version", |_, arguments| none(arguments).map(|()| version())),
    ("quit", |vm, arguments| none(arguments).map(|()| vm.target.quit()).map(done)),
    ("stop", |vm, arguments| none(arguments).and_then(|()| vm.set_paused(true)).map(done)),
    ("system_powerdown", |_, arguments| none(arguments).and_then(|()| Err(no_button()))),
    ("system_reset", |vm, arguments| none(arguments).and_then(|()| vm.reset()).map(done)),
    ("x-myvmm-dump", |vm, mut arguments| {
        let index = arguments.remove("cpu-index").unwrap_or_else(|| 0.into());
        let Vcpu { cpu_index } = parse(Arguments::from_iter([("cpu-index".to_owned(), index)]))?;
        blocks(vm, cpu_index, &parse(arguments)?)
    }),
    ("x-myvmm-query", |vm, arguments| none(arguments).map(|()| about(vm))),
    ("x-myvmm-query-registers", |vm, arguments| {
        let Vcpu { cpu_index } = parse(arguments)?;
        let registers = vm.target.registers(cpu_index);
        registers.ok_or_else(|| Failure::new(format!("There is no vCPU {cpu_index}; see query-cpus-fast")))
    }),
    ("x-myvmm-query-snapshot", |vm, arguments| none(arguments).map(|()| vm.target.snapshot_status())),
    ("x-myvmm-query-statistics", |vm, arguments| none(arguments).map(|()| vm.target.statistics())),
    ("x-myvmm-snapshot", |vm, arguments| {
        let Snapshot { file, form } = parse(arguments)?;
        vm.target.snapshot(&file, &form).map(done)
    }),
    // A client that has negotiated is told that it cannot again; it is here to be listed.
    ("qmp_capabilities", |_, _| Err(not_found("qmp_capabilities"))),
    ("query-target", |_, arguments| none(arguments).map(|()| json!({ "arch": "mips64el" }))),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Vcpu {
    cpu_index: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Snapshot {
    file: PathBuf,
    #[serde(default)]
    form: Form,
}

/// Does the command `name`.
///
/// # Errors
/// Says what is wrong with the command or its arguments, or why it cannot be done.
pub fn execute(vm: &Arc<Controlled>, name: &str, arguments: Arguments) -> Result {
    let command = COMMANDS.iter().find(|(known, _)| *known == name);
    let (_, body) = command.ok_or_else(|| not_found(name))?;
    body(vm, arguments)
}

fn not_found(name: &str) -> Failure {
    Failure::CommandNotFound(format!("The command {name} has not been found"))
}

fn no_button() -> Failure {
    Failure::new(
        "The machine has no power button that its guest would see; shut the guest down from within, or quit",
    )
}

/// The blocks that `excerpt` asks for, if they are an answer that clients can take.
fn blocks(vm: &Controlled, index: usize, excerpt: &Excerpt) -> Result {
    const MOST_BYTES: usize = 4 << 20;
    let blocks = json!(vm.target.blocks(index, excerpt)?);
    if blocks.to_string().len() > MOST_BYTES {
        let what = "The blocks are more than one answer can have, which is 4 MB; ask for fewer";
        return Err(Failure::new(what));
    }
    Ok(blocks)
}

fn parse<T: DeserializeOwned>(arguments: Arguments) -> std::result::Result<T, Failure> {
    serde_json::from_value(arguments.into())
        .map_err(|error| Failure::new(format!("Wrong arguments: {error}")))
}

fn none(arguments: Arguments) -> std::result::Result<(), Failure> {
    match arguments.into_iter().next() {
        Some((name, _)) => Err(Failure::new(format!("Parameter '{name}' is unexpected"))),
        None => Ok(()),
    }
}

fn done((): ()) -> Value {
    json!({})
}

fn names() -> Value {
    COMMANDS.iter().map(|(name, _)| json!({ "name": name })).collect()
}

fn status(vm: &Controlled) -> Value {
    let status = vm.status();
    json!({ "running": status == "running", "status": status })
}

fn cpus(vm: &Controlled) -> Value {
    let cpu = |(index, thread): (usize, i32)| {
        json!({
            "cpu-index": index,
            "qom-path": format!("/machine/cpu[{index}]"),
            "thread-id": thread,
            "target": "mips64el",
            "props": {},
        })
    };
    vm.target.threads().into_iter().enumerate().map(cpu).collect()
}

/// What `myvmm ps` shows.
fn about(vm: &Controlled) -> Value {
    json!({
        "name": vm.name,
        "pid": std::process::id(),
        "kind": vm.target.kind(),
        "vcpus": vm.target.threads().len(),
        "memory": vm.target.memory(),
        "state": vm.state(),
        "uptime": vm.uptime(),
        "instructions": vm.target.instructions(),
    })
}
