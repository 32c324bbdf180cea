//! Kernel modules: what a `.ko` file says of itself, which others it needs, and the two lists that `modprobe` reads.
//! The bytes come from the caller; this file opens nothing and knows no kernel and no package.

use std::collections::BTreeSet;

use crate::Error;

/// A kernel module: its file's bytes and what its `.modinfo` section says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// The name as `lsmod` shows it, without `-`.
    pub name: String,
    /// The `.ko` file.
    pub bytes: Vec<u8>,
    /// The modules that must be loaded before.
    pub depends: Vec<String>,
    /// Names or aliases that should be loaded before, if they are to be had.
    pub prefers: Vec<String>,
    /// The patterns by which the kernel may ask for it.
    pub aliases: Vec<String>,
}

impl Module {
    /// Reads the module called `name` from the bytes of its file.
    ///
    /// # Errors
    /// [`Error::BadModule`] if the file says nothing of itself.
    pub fn parse(name: &str, bytes: Vec<u8>) -> Result<Self, Error> {
        let fields = fields(&bytes);
        if !fields.iter().any(|(key, _)| *key == "depends") {
            return Err(Error::BadModule { module: name.to_owned() });
        }
        let all = |wanted: &str| -> Vec<String> {
            let values = fields.iter().filter(|(key, _)| *key == wanted);
            values.map(|(_, value)| (*value).to_owned()).collect()
        };
        let depends = all("depends").iter().flat_map(|list| names(list, ',')).collect();
        let prefers = all("softdep").iter().flat_map(|list| before(list)).collect();
        let aliases = all("alias");
        Ok(Self { name: canonical(name), depends, prefers, aliases, bytes })
    }
}

/// A module's name as the kernel knows it: a file may be called `virtio-rng`, the module is `virtio_rng`.
#[must_use]
pub fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

/// The `key=value` strings of a module's `.modinfo` section. They are found by their form, since they are the only
/// zero-terminated strings of a module that begin with these keys; so no ELF parser is needed.
fn fields(bytes: &[u8]) -> Vec<(&str, &str)> {
    const KEYS: [&str; 3] = ["depends", "softdep", "alias"];
    let strings = bytes.split(|byte| *byte == 0).filter_map(|string| std::str::from_utf8(string).ok());
    strings.filter_map(|string| string.split_once('=')).filter(|(key, _)| KEYS.contains(key)).collect()
}

fn names(list: &str, separator: char) -> impl Iterator<Item = String> {
    list.split(separator).map(str::trim).filter(|name| !name.is_empty()).map(canonical)
}

/// The `pre:` part of a soft dependency such as `pre: a b post: c`.
fn before(list: &str) -> Vec<String> {
    let words = list.split_whitespace().skip_while(|word| *word != "pre:").skip(1);
    words.take_while(|word| !word.ends_with(':')).map(str::to_owned).collect()
}

/// Modules in an order in which each comes after those it needs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Modules {
    ordered: Vec<Module>,
}

impl Modules {
    /// Gathers the modules `wanted` and all they need. `load` gives the module of a name, or nothing if there is no
    /// such file, as when that driver is part of the kernel itself. `supplier` gives the module's name behind an
    /// alias that a module prefers to have loaded first.
    ///
    /// # Errors
    /// Whatever `load` fails with.
    pub fn gather(
        wanted: &[&str],
        mut load: impl FnMut(&str) -> Result<Option<Module>, Error>,
        supplier: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        let mut gathered = Self::default();
        let mut seen = BTreeSet::new();
        for name in wanted {
            gathered.visit(&canonical(name), &mut seen, &mut load, &supplier)?;
        }
        Ok(gathered)
    }

    /// Depth first, so that what is needed is pushed before what needs it; `seen` also ends the circles that soft
    /// dependencies may make.
    fn visit(
        &mut self,
        name: &str,
        seen: &mut BTreeSet<String>,
        load: &mut impl FnMut(&str) -> Result<Option<Module>, Error>,
        supplier: &impl Fn(&str) -> Option<String>,
    ) -> Result<(), Error> {
        if !seen.insert(name.to_owned()) {
            return Ok(());
        }
        let Some(module) = load(name)? else { return Ok(()) };
        let preferred =
            module.prefers.iter().map(|alias| supplier(alias).unwrap_or_else(|| canonical(alias)));
        for needed in preferred.chain(module.depends.iter().cloned()) {
            self.visit(&needed, seen, load, supplier)?;
        }
        self.ordered.push(module);
        Ok(())
    }

    /// The modules, each after those it needs.
    pub fn iter(&self) -> impl Iterator<Item = &Module> {
        self.ordered.iter()
    }

    /// The text of `modules.dep`: each module's file and the files it needs, the nearest first.
    #[must_use]
    pub fn dependencies(&self) -> String {
        self.ordered.iter().map(|module| self.dependency_line(module)).collect()
    }

    fn dependency_line(&self, module: &Module) -> String {
        let mut needed: BTreeSet<&str> = module.depends.iter().map(String::as_str).collect();
        let mut line = String::new();
        // Going backwards, everything that needs a module has been seen before the module itself.
        for candidate in self.ordered.iter().rev().filter(|candidate| candidate.name != module.name) {
            if needed.contains(candidate.name.as_str()) {
                line.push_str(&format!(" {}.ko", candidate.name));
                needed.extend(candidate.depends.iter().map(String::as_str));
            }
        }
        format!("{}.ko:{line}\n", module.name)
    }

    /// The text of `modules.alias`: each pattern by which the kernel may ask, and the module that answers.
    #[must_use]
    pub fn aliases(&self) -> String {
        let lines = self.ordered.iter().flat_map(|module| {
            module.aliases.iter().map(move |alias| format!("alias {alias} {}\n", module.name))
        });
        lines.collect()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The bytes of a stand-in for a `.ko` file with these strings.
    pub(crate) fn file(strings: &[&str]) -> Vec<u8> {
        let mut bytes = b"\x7fELF\xff\xfe\0license=GPL\0".to_vec();
        for string in strings {
            bytes.extend_from_slice(string.as_bytes());
            bytes.push(0);
        }
        bytes.extend_from_slice(b"\xff\xff");
        bytes
    }

    fn gather(wanted: &[&str], all: &[(&str, &[&str])]) -> Modules {
        let load = |name: &str| {
            let found = all.iter().find(|(known, _)| canonical(known) == name);
            found.map(|(known, strings)| Module::parse(known, file(strings))).transpose()
        };
        let supplier = |alias: &str| (alias == "crypto-sum").then(|| "sum_generic".to_owned());
        Modules::gather(wanted, load, supplier).unwrap()
    }

    #[test]
    fn a_module_says_what_it_needs() {
        let strings = ["softdep=pre: crypto-sum x post: y", "alias=fs-e", "alias=e*", "depends=b-c,d"];
        let module = Module::parse("my-fs", file(&strings)).unwrap();
        assert_eq!(module.name, "my_fs");
        assert_eq!(module.depends, ["b_c", "d"]);
        assert_eq!(module.prefers, ["crypto-sum", "x"]);
        assert_eq!(module.aliases, ["fs-e", "e*"]);
    }

    #[test]
    fn a_file_that_says_nothing_is_refused() {
        assert!(matches!(Module::parse("x", b"\x7fELF".to_vec()), Err(Error::BadModule { .. })));
    }

    #[test]
    fn what_is_needed_comes_first_and_missing_ones_are_built_in() {
        let all: &[(&str, &[&str])] = &[
            ("fs", &["softdep=pre: crypto-sum", "depends=journal,built_in", "alias=fs-fs"]),
            ("journal", &["depends=ring"]),
            ("ring", &["depends="]),
            ("sum_generic", &["depends="]),
            ("other", &["depends="]),
        ];
        let modules = gather(&["fs"], all);
        let order: Vec<_> = modules.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(order, ["sum_generic", "ring", "journal", "fs"]);
        assert_eq!(modules.aliases(), "alias fs-fs fs\n");
        assert!(modules.dependencies().ends_with("journal.ko: ring.ko\nfs.ko: journal.ko ring.ko\n"));
    }

    #[test]
    fn a_shared_need_is_listed_once_after_all_that_need_it() {
        let all: &[(&str, &[&str])] =
            &[("blk", &["depends=virtio,ring"]), ("virtio", &["depends=ring"]), ("ring", &["depends="])];
        assert!(gather(&["blk"], all).dependencies().ends_with("blk.ko: virtio.ko ring.ko\n"));
    }

    #[test]
    fn a_circle_ends() {
        let modules = gather(&["a"], &[("a", &["softdep=pre: b", "depends="]), ("b", &["depends=a"])]);
        assert_eq!(modules.iter().count(), 2);
    }
}
