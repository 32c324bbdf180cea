//! The command line of myvmm: it parses, calls the runtime and reports; it owns nothing.

use runtime::vcpu::Engine;
use runtime::vm::{Config, Vm};

fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let config = Config {
        kernel: args[1].clone().into(),
        initrd: args.get(2).map(Into::into),
        command_line: args.get(3).cloned().unwrap_or_default(),
        ram: 512 << 20,
        vcpus: 1,
        model: &translator::model::MIPS64R2,
        engine: if std::env::var("INTERP").is_ok() { Engine::Interpreter } else { Engine::Jit },
        counted: false,
    };
    let vm = Vm::build(&config, Box::new(std::io::stdout()))?;
    let start = std::time::Instant::now();
    let (ending, statistics) = vm.run()?;
    eprintln!("{ending:?} {:?} {statistics:#?}", start.elapsed());
    Ok(())
}
