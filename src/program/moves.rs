//! Programs that ask to be moved: the ways to where they want to go, and what they are run by there. It must not know
//! how they move.

use std::collections::HashMap;
use std::sync::Arc;

use runtime::migrate::{Connect, Outcome};
use runtime::program::moving::Leaving;
use runtime::program::{Image, ProgramVm};
use runtime::wire;
use serde::{Deserialize, Serialize};
use translator::asm::Para;

use crate::connection::ConnectionOptions;
use crate::control::Controlled;
use crate::control::migration::{Road, destination, resolve};

/// How programs are run, for whoever goes on with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manner {
    /// Instructions of a slice.
    pub slice: u64,
    /// Whether each has a thread.
    pub threads: bool,
    /// Whether lines begin with names.
    pub prefix: bool,
    /// Whether dumps are JSON.
    pub json: bool,
}

impl Manner {
    /// The bytes that say it.
    pub fn encode(self) -> Vec<u8> {
        wire::encode(&self)
    }

    /// What the bytes say; nothing if that makes no sense.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        wire::decode(bytes).ok().filter(|manner: &Self| (1..=i64::MAX as u64).contains(&manner.slice))
    }
}

/// The ways to the hosts that programs name. They are found before the process confines itself.
#[derive(Clone, Default)]
pub struct Roads(HashMap<String, Result<Arc<dyn Connect>, String>>);

impl Roads {
    /// The ways for programs of these `images`.
    ///
    /// # Errors
    /// Refuses certificates that are no good, if there is a use for them.
    pub fn of<'a>(
        images: impl Iterator<Item = &'a Image>,
        connection: &ConnectionOptions,
    ) -> anyhow::Result<Self> {
        let paras = images.flat_map(Image::paras);
        let hosts: Vec<&String> = paras
            .filter_map(|para| match para {
                Para::Migrate(host) => Some(host),
                Para::DumpProcessorState | Para::Snapshot(_) => None,
            })
            .collect();
        if hosts.is_empty() {
            return Ok(Self::default());
        }
        let client = Arc::new(connection.client()?);
        let road = |text: &str| {
            let (name, port) = destination(text)?;
            let addresses = resolve(&name, port)?;
            Ok(Arc::new(Road { client: Arc::clone(&client), name, addresses }) as Arc<dyn Connect>)
        };
        Ok(Self(hosts.into_iter().map(|host| (host.clone(), road(host))).collect()))
    }

    /// Whether there is any.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// How the programs of a session move.
#[derive(Clone)]
pub struct Moves {
    /// The session.
    pub vm: Arc<Controlled>,
    /// The ways that there are.
    pub roads: Roads,
    /// How programs are run.
    pub manner: Manner,
}

impl Moves {
    /// Moves `program`, which stands still, to `host`.
    ///
    /// # Errors
    /// Says why it cannot even be tried.
    pub fn depart(&self, program: &mut ProgramVm, host: &str) -> Result<Outcome, String> {
        let road = self.roads.0.get(host).cloned();
        let road = road.unwrap_or_else(|| Err("the way was not known when this process began".into()))?;
        let departure = self.vm.begin_departure(host.to_owned(), false)?;
        Ok(departure.run(&mut Leaving::one(program, self.manner.encode()), &road))
    }
}
