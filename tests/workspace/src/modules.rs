//! The modules of a program or library, which of them names which, and where that goes round in a circle.
//!
//! A module names another one in a `use` line or by a path in its code. The path is followed through re-exports to the module that defines
//! what it names; what a macro makes is taken for the last module on the path. Code under `#[cfg(test)]` is left out. Not seen are paths
//! inside literals, as in `#[serde(with = "…")]`, and files that `#[path]` names.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::path::{Path, PathBuf};

use crate::{code, without_tests};

/// A module by the names on the way to it from the root, which is empty.
type Name = Vec<String>;

/// Re-exports of re-exports are followed this far.
const STEPS_MAX: usize = 16;

/// The modules below one root file.
#[derive(Default)]
pub struct Modules {
    modules: BTreeMap<Name, Module>,
}

#[derive(Default)]
struct Module {
    file: PathBuf,
    items: BTreeSet<String>,
    /// What `use` brings in: the name here, the path as it is written.
    imports: Vec<(String, Name)>,
    globs: Vec<Name>,
    /// All paths as they are written, those of `use` too.
    paths: Vec<Name>,
}

/// Modules of which each names the next one, and the last names the first. It begins with the first in the alphabet.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Cycle(Vec<(String, PathBuf)>);

impl Cycle {
    /// The modules alone: `a -> b::c -> a`.
    pub fn names(&self) -> String {
        let names = self.0.iter().chain(self.0.first()).map(|(name, _)| name.as_str());
        names.collect::<Vec<_>>().join(" -> ")
    }
}

/// The modules with their files.
impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, file) in &self.0 {
            write!(f, "{name} ({}) -> ", file.display())?;
        }
        self.0.first().map_or(Ok(()), |(name, _)| write!(f, "{name}"))
    }
}

impl Modules {
    /// Reads the root file and all files that it declares. `source` is the text of a file, `None` where there is none.
    ///
    /// # Panics
    /// If a declared module has no file.
    pub fn read(root: &Path, source: &impl Fn(&Path) -> Option<String>) -> Self {
        let mut modules = Self::default();
        let folder = root.parent().unwrap_or(Path::new(""));
        modules.read_file(vec![], root, folder, source);
        modules
    }

    /// `folder` is where the files of its children lie.
    fn read_file(&mut self, name: Name, file: &Path, folder: &Path, source: &impl Fn(&Path) -> Option<String>) {
        let text = source(file).unwrap_or_else(|| panic!("{}: no such file", file.display()));
        let text = without_tests(&code(&text));
        let words = words(&text);
        let top = name.len();
        self.modules.insert(name.clone(), Module { file: file.to_owned(), ..Module::default() });
        let (mut here, mut depth, mut inline) = (name, 0_usize, vec![]);
        let mut at = 0;
        while at < words.len() {
            let next = |ahead: usize| words.get(at + ahead).copied().unwrap_or_default();
            let mut read = 1;
            match words[at] {
                "{" => depth += 1,
                "}" => {
                    depth = depth.saturating_sub(1);
                    if inline.last() == Some(&depth) {
                        inline.pop();
                        here.pop();
                    }
                }
                "mod" if is_name(next(1)) && next(2) == "{" => {
                    here.push(next(1).to_owned());
                    self.modules.insert(here.clone(), Module { file: file.to_owned(), ..Module::default() });
                    inline.push(depth);
                    depth += 1;
                    read = 3;
                }
                "mod" if is_name(next(1)) && next(2) == ";" => {
                    let folder = here[top..].iter().fold(folder.to_owned(), |folder, part| folder.join(part)).join(next(1));
                    let child = [&here[..], &[next(1).to_owned()]].concat();
                    let (beside, inside) = (folder.with_extension("rs"), folder.join("mod.rs"));
                    self.read_file(child, if source(&beside).is_some() { &beside } else { &inside }, &folder, source);
                }
                "use" if next(1) != "<" => {
                    read += self.module(&here).import(&words[at + 1..], &[]);
                }
                "fn" | "struct" | "enum" | "trait" | "type" | "const" | "static" | "union" => {
                    self.module(&here).items.insert(next(1).to_owned());
                }
                "macro_rules" => {
                    self.module(&here).items.insert(next(2).to_owned());
                }
                word if is_name(word) && next(1) == "::" => {
                    let path = path(&words[at..]);
                    read = 2 * path.len() - 1;
                    self.module(&here).paths.push(path);
                }
                _ => {}
            }
            at += read;
        }
    }

    fn module(&mut self, name: &Name) -> &mut Module {
        self.modules.entry(name.clone()).or_default()
    }

    /// The module in which the path ends that is written in `from`, and whether it names that module itself; `None` if it leaves the crate.
    fn resolve(&self, from: &Name, path: &[String], steps: usize) -> Option<(Name, bool)> {
        let (first, rest) = path.split_first()?;
        let (mut at, mut is_module) = match first.as_str() {
            "crate" => (vec![], true),
            "self" => (from.clone(), true),
            "super" => (from.split_last()?.1.to_vec(), true),
            name => self.look_up(from, name, steps)?,
        };
        for name in rest {
            if !is_module {
                break;
            }
            (at, is_module) = match name.as_str() {
                "super" => (at.split_last()?.1.to_vec(), true),
                "self" => (at, true),
                name => self.look_up(&at, name, steps).unwrap_or((at, false)),
            };
        }
        Some((at, is_module))
    }

    /// The same for one name in a module: a child, an item, or what it imports.
    fn look_up(&self, module: &Name, name: &str, steps: usize) -> Option<(Name, bool)> {
        let child = [&module[..], &[name.to_owned()]].concat();
        if self.modules.contains_key(&child) {
            return Some((child, true));
        }
        let here = self.modules.get(module)?;
        if here.items.contains(name) {
            return Some((module.clone(), false));
        }
        let steps = steps.checked_sub(1)?;
        if let Some((_, path)) = here.imports.iter().find(|(import, _)| import == name) {
            // `use serde_json;`, also as `use rand::{self}`, must not look for itself.
            return if path[0] == name { None } else { self.resolve(module, path, steps) };
        }
        let globs = here.globs.iter().filter_map(|path| self.resolve(module, path, steps));
        globs.filter(|(glob, is_module)| *is_module && glob != module).find_map(|(glob, _)| self.look_up(&glob, name, steps))
    }

    /// Which module names which, without itself, what is above and what is below it.
    fn edges(&self) -> BTreeMap<&Name, BTreeSet<Name>> {
        let targets = |name, module: &Module| {
            let resolved = module.paths.iter().filter_map(|path| self.resolve(name, path, STEPS_MAX));
            resolved.map(|(target, _)| target).filter(|target| !target.starts_with(name) && !name.starts_with(target)).collect()
        };
        self.modules.iter().map(|(name, module)| (name, targets(name, module))).collect()
    }

    /// For each edge that is in a circle the shortest one, each once, sorted. None of it left means that there is no circle at all.
    pub fn cycles(&self) -> Vec<Cycle> {
        let edges = self.edges();
        let mut found = BTreeSet::new();
        for (from, targets) in &edges {
            for to in targets {
                if let Some(mut way) = shortest_way(&edges, to, from) {
                    let first = (0..way.len()).min_by_key(|at| way[*at]).unwrap_or_default();
                    way.rotate_left(first);
                    let with_file = |name: &Name| (shown(name), self.modules[name].file.clone());
                    found.insert(Cycle(way.into_iter().map(with_file).collect()));
                }
            }
        }
        found.into_iter().collect()
    }
}

impl Module {
    /// Reads what stands behind `use`, below a prefix. Returns how many words it has.
    fn import(&mut self, words: &[&str], prefix: &[String]) -> usize {
        let mut path = prefix.to_vec();
        let mut at = 0;
        while let Some(word) = words.get(at) {
            match *word {
                "{" => {
                    at += 1;
                    while words.get(at).is_some_and(|word| *word != "}") {
                        at += self.import(&words[at..], &path);
                        at += usize::from(words.get(at) == Some(&","));
                    }
                    return at + 1;
                }
                "*" => {
                    self.globs.push(path.clone());
                    self.paths.push(path);
                    return at + 1;
                }
                "::" => {}
                "self" if !path.is_empty() => {}
                name if is_name(name) => path.push(name.to_owned()),
                _ => break,
            }
            at += 1;
            if words.get(at) == Some(&"as") {
                if let Some(alias) = words.get(at + 1) {
                    self.imports.push(((*alias).to_owned(), path.clone()));
                }
                self.paths.push(path);
                return at + 2;
            }
        }
        if let Some(name) = path.last() {
            self.imports.push((name.clone(), path.clone()));
            self.paths.push(path);
        }
        at.max(1)
    }
}

fn is_name(word: &str) -> bool {
    word.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The names that `::` joins here.
fn path(words: &[&str]) -> Name {
    let mut path = vec![words[0].to_owned()];
    for pair in words[1..].chunks_exact(2) {
        if pair[0] != "::" || !is_name(pair[1]) {
            break;
        }
        path.push(pair[1].to_owned());
    }
    path
}

/// Names, `::`, and every other character by itself.
fn words(code: &str) -> Vec<&str> {
    let mut found = vec![];
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first.is_alphanumeric() || first == '_' {
            rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        found.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    found
}

fn shown(name: &Name) -> String {
    if name.is_empty() { "crate".to_owned() } else { name.join("::") }
}

/// The modules on the shortest way, its two ends among them; of several the first in the alphabet.
fn shortest_way<'a>(edges: &'a BTreeMap<&'a Name, BTreeSet<Name>>, from: &'a Name, to: &Name) -> Option<Vec<&'a Name>> {
    let mut came_from = BTreeMap::from([(from, from)]);
    let mut waiting = VecDeque::from([from]);
    while let Some(at) = waiting.pop_front() {
        if at == to {
            let mut way = vec![at];
            while came_from[way[way.len() - 1]] != way[way.len() - 1] {
                way.push(came_from[way[way.len() - 1]]);
            }
            way.reverse();
            return Some(way);
        }
        for next in edges.get(at).into_iter().flatten() {
            if !came_from.contains_key(next) {
                came_from.insert(next, at);
                waiting.push_back(next);
            }
        }
    }
    None
}
