//! Control of running VMs: a socket for each that speaks the QEMU machine protocol, and a client of such sockets.
//!
//! `splitter` cuts a stream into objects, `protocol` is one client's conversation, `command` what can be asked,
//! `target` what is controlled, `server` the thread with the clients, `directory` where the sockets are.

pub mod client;
mod command;
pub mod directory;
#[cfg(test)]
mod fuzz;
pub mod machine;
pub mod migration;
pub mod programs;
mod protocol;
mod server;
mod splitter;
mod target;

use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use runtime::migrate::Waiting;

use directory::{Directory, Place};
pub use protocol::Event;
pub use server::Notices;
use server::Server;
pub use target::{Controlled, Target};

/// A VM under control. When it goes, so does its socket.
pub struct Control {
    /// The VM.
    pub vm: Arc<Controlled>,
    notices: Notices,
    /// Goes before its place does: until then the name is taken.
    _server: Option<Server>,
    _place: Option<Place>,
}

/// The name of a VM and the socket that goes with it. It is taken before the process confines itself.
pub struct Address {
    name: String,
    socket: Option<(UnixListener, Place)>,
}

impl Address {
    /// Takes the address `name`, or one made from `file`.
    ///
    /// # Errors
    /// Refuses a name that is taken, and fails if the host gives no socket. Without a name that was asked for, the VM
    /// then has no socket, and the user is told.
    pub fn take(name: Option<&str>, file: &Path) -> anyhow::Result<Self> {
        let own = name.map_or_else(|| directory::default_name(file), str::to_owned);
        let socket = match Directory::open().and_then(|directory| directory.listen(&own)) {
            Ok(socket) => Some(socket),
            Err(error) if name.is_some() => return Err(error),
            Err(error) => {
                tell_line!("myvmm: There is no control socket: {error:#}");
                None
            }
        };
        Ok(Self { name: own, socket })
    }

    /// Takes the address `name` for a guest from elsewhere, or one like it if that is taken.
    ///
    /// # Errors
    /// Fails if the host gives no socket.
    pub fn take_like(name: &str) -> anyhow::Result<Self> {
        let fine = directory::name(name).ok();
        let taken = fine.as_deref().and_then(|name| Self::take(Some(name), Path::new(name)).ok());
        match taken {
            Some(address) => Ok(address),
            None => Self::take(Some(&directory::default_name(Path::new(name))), Path::new(name)),
        }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory that the socket is removed from in the end.
    pub fn directory(&self) -> Option<&Path> {
        self.socket.as_ref()?.1.directory()
    }
}

impl Control {
    /// Puts `target`, whose events are told by `notices`, under control; perhaps it still comes by `arrival`.
    ///
    /// # Errors
    /// Fails if the host gives no thread.
    pub fn start(
        address: Address,
        target: Arc<dyn Target>,
        arrival: Option<Arc<Waiting>>,
        notices: Notices,
    ) -> anyhow::Result<Self> {
        let vm = Controlled::new(address.name, target, notices.clone(), arrival);
        let (listener, place) = address.socket.unzip();
        let server = listener.map(|listener| serve(listener, &vm, &notices)).transpose()?;
        Ok(Self { vm, notices, _server: server, _place: place })
    }

    /// Where events are told.
    pub fn notices(&self) -> &Notices {
        &self.notices
    }
}

fn serve(listener: UnixListener, vm: &Arc<Controlled>, notices: &Notices) -> anyhow::Result<Server> {
    let vm = Arc::clone(vm);
    let execute = Box::new(move |name: &str, arguments| command::execute(&vm, name, arguments));
    Server::start(listener, notices, execute).context("Cannot start the control's thread")
}
