//! `myvmm receive`: takes guests that move to this host, each in a process of its own. It must not know how they move.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use clap::Args;
use runtime::backend::disk::{Format, Image, SharedDisk};
use runtime::backend::net::{Card, Link, Mac, user};
use runtime::drive::Schedule;
use runtime::migrate::{House, Knock, Register, Terms};
use runtime::observe::Watching;
use runtime::program::Execution;
use runtime::program::moving as programs;
use runtime::vcpu::Engine;
use runtime::vm::Config;
use runtime::vm::moving::{self as machine, BootShape, DiskShape, LinkShape, Passage, Shape};

use crate::connection::ConnectionOptions;
use crate::control::{Address, directory::Directory, migration::place};
use crate::devices::DeviceOptions;
use crate::exit::{self, Refused};
use crate::options::{EngineChoice, directory, needs, size, writable_directory};
use crate::program::moves::{Manner, Roads};
use crate::program::{self, DumpFormat};
use crate::sandbox::{Needs, SandboxOptions};
use crate::session::{Origin, Session};
use crate::watch::WatchOptions;

/// Guests at a time, with those that only ask: others wait to be accepted.
const MOST: usize = 256;
/// How long the receiver rests when the host is out of something.
const REST: Duration = Duration::from_millis(100);

/// Take guests that move to this host, any number, until it is ended; they go on when it has ended
#[derive(Debug, Args)]
#[command(after_help = exit::CODES, max_term_width = 100)]
pub struct Receive {
    /// Where to listen, at port 4446 if none is given; beyond this host only with --tls-dir or --insecure
    #[arg(long, value_name = "ADDRESS[:PORT]", default_value = "127.0.0.1", value_parser = place)]
    listen: (String, u16),
    #[command(flatten)]
    connection: ConnectionOptions,
    /// A directory for what each guest prints, in a file called by its name; without, it is printed here
    #[arg(long, value_name = "DIRECTORY", value_parser = writable_directory())]
    log: Option<PathBuf>,
    /// The most memory that a guest may have: a number with K, M or G; without, M is meant
    #[arg(long, value_name = "SIZE", default_value = "16G", value_parser = size)]
    max_mem: u64,
    /// A directory with images of disks that guests may change, shared with the hosts that they come from; may be given
    /// several times. In the first, new images are made of disks that come with their guest (migrate --with-disk)
    #[arg(long, value_name = "DIRECTORY", value_parser = directory())]
    disks: Vec<PathBuf>,
    /// The most bytes of disks that may come with a guest: a number with K, M or G; without, M is meant
    #[arg(long, value_name = "SIZE", default_value = "256G", value_parser = size)]
    max_disk: u64,
    /// What runs the guests: interp, jit, or auto for each where it is better
    #[arg(long, value_enum, default_value_t = EngineChoice::Auto, hide_possible_values = true)]
    engine: EngineChoice,
    #[command(flatten)]
    devices: DeviceOptions,
    #[command(flatten)]
    sandbox: SandboxOptions,
    /// Take the one guest that comes on standard input.
    #[arg(long, hide = true)]
    one: bool,
}

impl Receive {
    /// Takes guests until it is ended.
    ///
    /// # Errors
    /// Fails if it cannot listen.
    pub fn execute(self) -> anyhow::Result<ExitCode> {
        if self.one {
            return self.receive_one();
        }
        let server = self.connection.server()?;
        let (host, port) = &self.listen;
        let listener = server.listen(host, *port)?;
        // So that a mistake is told now, and not to the first guest.
        self.house()?;
        eprintln!("myvmm: Listening at {}", listener.local_addr()?);
        serve(&listener)
    }

    fn house(&self) -> anyhow::Result<House> {
        let directory = Directory::open()?;
        let register = Register::open(directory.place()).context("Cannot note what becomes of guests")?;
        Ok(House {
            register,
            patience: Terms::default().patience,
            most_memory: self.max_mem,
            most_disk: self.max_disk,
        })
    }

    fn receive_one(self) -> anyhow::Result<ExitCode> {
        let stream = take_standard_input().context("Cannot take the connection")?;
        let house = self.house()?;
        let connection = self.connection.server()?.accept(stream, house.patience)?;
        let Some(knock) = house.greet(Box::new(connection))? else { return Ok(ExitCode::SUCCESS) };
        match knock.hello().kind.as_str() {
            machine::KIND => self.receive_machine(knock),
            programs::KIND => self.receive_programs(knock),
            _ => Err(knock.refuse("this myvmm does not know what kind of guest it is").into()),
        }
    }

    fn receive_machine(self, knock: Knock) -> anyhow::Result<ExitCode> {
        let (shape, mut config) = match Shape::decode(knock.hello())
            .map_err(|error| error.to_string())
            .and_then(|shape| Ok((self.config(&knock.hello().name, &shape)?, shape)))
        {
            Ok((config, shape)) => (shape, config),
            Err(why) => return Err(knock.refuse(&why).into()),
        };
        let remark = shape.boot.as_ref().and_then(|boot| give_kernel(&mut config, boot).err());
        let reboots = shape.boot.is_some() && remark.is_none();
        let address = self.open(&knock)?;
        let mut needs = needs(&config, &address);
        // It may move on.
        needs.network = true;
        // Where disks that came with it get their names.
        needs.nameable.extend(shape.copied().next().and(self.disks.first()).cloned());
        self.sandbox.enter(&needs)?;
        let (watch, _) = WatchOptions::default().open(config.engine)?;
        let origin = Origin::Elsewhere(Box::new((shape, knock.welcome(remark))));
        let closing = Session { address, config, origin, snapshots: None, reboots, watch }.run()?;
        Ok(closing.end.exit_code())
    }

    /// The machine for one of `shape`.
    fn config(&self, name: &str, shape: &Shape) -> Result<Config, String> {
        let mut names: Vec<_> = shape.copied().map(|disk| disk.file.file_name()).collect();
        names.sort_unstable();
        if !names.is_sorted_by(|one, next| one < next) {
            return Err("two of the disks that come with the guest have images of one name".to_owned());
        }
        Ok(Config {
            name: name.to_owned(),
            kernel: PathBuf::new(),
            initrd: None,
            command_line: String::new(),
            ram: shape.ram,
            vcpus: shape.vcpus as usize,
            model: &translator::model::MIPS64R2,
            schedule: shape.slice.map_or(Schedule::Threads, Schedule::Slices),
            engine: self.engine.into(),
            watching: Watching::default(),
            disks: shape.disks.iter().map(|disk| self.disk(disk)).collect::<Result<_, _>>()?,
            cards: self.cards(shape)?,
            consoles: Vec::new(),
        })
    }

    /// A disk of the guest: by the same name here, or, if it comes with the guest, in a new image. One that the guest can
    /// change is where that is allowed.
    fn disk(&self, shape: &DiskShape) -> Result<SharedDisk, String> {
        let DiskShape { file, qcow2, passage, bytes } = shape;
        let format = Some(if *qcow2 { Format::Qcow2 } else { Format::Raw });
        let image = |file, read_only| Image { file, format, read_only, snapshot: false };
        let disk = match passage {
            Passage::ReadOnly => SharedDisk::open(&image(file.clone(), true)),
            Passage::HandedOver if self.disks.iter().any(|directory| is_within(file, directory)) => {
                SharedDisk::open_to_take(&image(file.clone(), false))
            }
            Passage::HandedOver => {
                let file = file.display();
                return Err(format!(
                    "disk image {file} is in no directory that the receiver was given by --disks; if the hosts share no \
                     storage, it can be copied: migrate --with-disk"
                ));
            }
            Passage::Copied => SharedDisk::create(&image(self.place_of(file)?, false), *bytes),
        };
        let disk = disk.map_err(|error| Refused::because(error).to_string())?;
        if disk.size() == *bytes {
            return Ok(disk);
        }
        Err(format!("disk image {} has another size here", file.display()))
    }

    /// Where a disk that is `file` at the source gets its image: only the last part of that name counts here.
    fn place_of(&self, file: &Path) -> Result<PathBuf, String> {
        let directory = self.disks.first();
        let directory = directory.ok_or("the receiver was given no directory for disks by --disks")?;
        match file.file_name().and_then(OsStr::to_str) {
            Some(name) if !name.contains(char::is_control) => Ok(directory.join(name)),
            _ => Err("the name of a disk image makes no sense".to_owned()),
        }
    }

    /// The network cards: they keep their addresses, and are plugged into what is said here.
    fn cards(&self, shape: &Shape) -> Result<Vec<Card>, String> {
        let here = self.devices.cards(false).map_err(|Refused(why)| why)?;
        if !here.is_empty() && here.len() != shape.cards.len() {
            let (theirs, ours) = (shape.cards.len(), here.len());
            return Err(format!(
                "the guest has {theirs} network cards, and the receiver's --net options are for {ours}"
            ));
        }
        let mut links = here.into_iter().map(|card| card.link);
        let card = |card: &machine::CardShape| {
            let link = match (links.next(), card.link) {
                (Some(link), _) => link,
                (None, LinkShape::User) => Link::User(user::Options::default()),
                (None, LinkShape::Stream | LinkShape::Tap) => {
                    return Err("the guest has a network card that is not on the user network; give the receiver --net"
                        .to_owned());
                }
            };
            Ok(Card { mac: Some(Mac(card.mac)), link })
        };
        shape.cards.iter().map(card).collect()
    }

    fn receive_programs(self, knock: Knock) -> anyhow::Result<ExitCode> {
        let shape = match programs::Shape::decode(knock.hello()) {
            Ok(shape) => shape,
            Err(error) => return Err(knock.refuse(&error.to_string()).into()),
        };
        let Some(manner) = Manner::decode(&shape.session) else {
            return Err(knock.refuse("what is said of the programs makes no sense").into());
        };
        let address = self.open(&knock)?;
        let names = shape.images.iter().map(|image| image.name.clone()).collect();
        let mut needs = Needs { network: true, writable: vec![".".into()], ..Needs::default() };
        needs.readable.push("/proc/self/status".into());
        needs.writable.extend(address.directory().map(Path::to_owned));
        let roads = Roads::of(shape.images.iter(), &self.connection)?;
        self.sandbox.enter(&needs)?;
        let engine = Engine::from(self.engine);
        let (watch, watching) = WatchOptions::default().open(engine)?;
        let execution = Execution { engine, watching };
        let (vms, arriving) = programs::Arriving::new(shape, &execution)?;
        let session = program::Session {
            execution,
            slice: manner.slice,
            threads: manner.threads,
            prefix: manner.prefix,
            watch,
            dump_format: if manner.json { DumpFormat::Json } else { DumpFormat::Text },
            roads,
        };
        let newcomers = program::Newcomers { names, arriving, arrival: knock.welcome(None) };
        session.welcome(&vms, newcomers, address)
    }

    /// Takes the guest's name, and leads what it prints where it belongs.
    fn open(&self, knock: &Knock) -> anyhow::Result<Address> {
        let address = Address::take_like(&knock.hello().name)?;
        if let Some(directory) = &self.log {
            let file = directory.join(format!("{}.log", address.name()));
            let file = OpenOptions::new().create(true).append(true).open(&file);
            let file = file.with_context(|| format!("Cannot write to {}", directory.display()))?;
            rustix::stdio::dup2_stdout(&file)?;
            rustix::stdio::dup2_stderr(&file)?;
        }
        Ok(address)
    }
}

/// Whether `file` is in `directory`, or below it, whatever links there are.
fn is_within(file: &Path, directory: &Path) -> bool {
    let (file, directory) = (file.canonicalize(), directory.canonicalize());
    matches!((file, directory), (Ok(file), Ok(directory)) if file.starts_with(&directory))
}

/// Gives the machine what it boots when it resets.
///
/// # Errors
/// Says what of that is not here.
fn give_kernel(config: &mut Config, boot: &BootShape) -> Result<(), String> {
    for file in [Some(&boot.kernel), boot.initrd.as_ref()].into_iter().flatten() {
        File::open(file).map_err(|error| {
            let (file, why) = (file.display(), exit::words(&error));
            format!("when the guest resets there it ends, for what it boots is not there: {file}: {why}")
        })?;
    }
    config.kernel.clone_from(&boot.kernel);
    config.initrd.clone_from(&boot.initrd);
    config.command_line.clone_from(&boot.command_line);
    Ok(())
}

/// Starts a process for each connection.
fn serve(listener: &TcpListener) -> anyhow::Result<ExitCode> {
    let program = std::env::current_exe().context("Cannot find this program")?;
    let guests = Arc::new(());
    loop {
        // Each process that runs holds a share.
        let accepted = if Arc::strong_count(&guests) > MOST { None } else { listener.accept().ok() };
        let Some((stream, _)) = accepted else {
            thread::sleep(REST);
            continue;
        };
        let started = start(&program, stream).and_then(|guest| attend(guest, Arc::clone(&guests)));
        if let Err(error) = started {
            eprintln!("myvmm: Cannot start a process or a thread for a guest: {}", exit::words(&error));
        }
    }
}

/// Waits, on a thread, for the end of a guest's process, which tells by itself how it ends; then it gives up its share.
fn attend(mut guest: Child, share: Arc<()>) -> io::Result<()> {
    let body = move || {
        let _ = guest.wait();
        drop(share);
    };
    thread::Builder::new().name("guest".into()).spawn(body).map(drop)
}

/// Starts this program for the guest on `stream`. What ends the receiver does not end the guest.
fn start(program: &Path, stream: TcpStream) -> io::Result<Child> {
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).arg("--one");
    command.stdin(Stdio::from(OwnedFd::from(stream))).process_group(0).spawn()
}

/// Takes the connection that is standard input; nothing is there to be read any more then.
fn take_standard_input() -> io::Result<TcpStream> {
    let stream = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(stream.into())
}
