//! Fields to hypercubes: which messages make one variable.
//!
//! # Algorithm
//! 1. Fields of one parameter, type of level, grid, statistic and kind form a family.
//! 2. A field whose number, time, step and level another of its family has already goes to a family of its own.
//! 3. The values that each of the four takes span a cube. If at least half of it is there, the rest is missing; otherwise the family
//!    is parted by the key of fewest values, and each part tried again.
//! 4. Names: the parameter's; where several cubes would have it, the type of level, the statistic, the kind and at last a number tell
//!    them apart.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::field::Field;
use super::parameters::{self, Name};

/// The keys that can become dimensions, in their order.
pub(super) const AXES: usize = 4;
/// Index of the ensemble member.
pub(super) const NUMBER: usize = 0;
/// Index of the reference time.
pub(super) const TIME: usize = 1;
/// Index of the step.
pub(super) const STEP: usize = 2;
/// Index of the level.
pub(super) const LEVEL: usize = 3;

/// One variable's fields.
#[derive(Debug)]
pub(super) struct Cube {
    /// Its own name among the variables.
    pub(super) variable: String,
    /// What the parameter is called.
    pub(super) name: Name,
    /// For each axis and each of its values, a field that has it.
    pub(super) axes: [Vec<usize>; AXES],
    /// Fields in C order over the axes.
    pub(super) slots: Vec<Option<usize>>,
}

/// A place along an axis, ordered as the numbers are.
type Place = (i64, i64);

fn place(field: &Field, axis: usize) -> Place {
    // Order-preserving: IEEE numbers sort as sign and magnitude.
    let ordered = |v: f64| {
        let bits = (v + 0.0).to_bits() as i64;
        if bits < 0 { i64::MIN.wrapping_sub(bits) } else { bits }
    };
    match axis {
        NUMBER => (field.number.unwrap_or(i64::MIN), 0),
        TIME => (field.time, 0),
        STEP => (field.step, 0),
        _ => (ordered(field.level.first), field.level.second.map_or(i64::MIN, ordered)),
    }
}

fn places(field: &Field) -> [Place; AXES] {
    std::array::from_fn(|axis| place(field, axis))
}

/// All variables of a file, in the order of their first messages. Every field is in exactly one of them.
pub(super) fn cubes(fields: &[Field]) -> Vec<Cube> {
    let mut families: Vec<(Name, Vec<Vec<usize>>)> = Vec::new();
    let mut index = HashMap::new();
    let mut seen = HashSet::new();
    for (i, field) in fields.iter().enumerate() {
        let name = parameters::name(field);
        let kind: Vec<_> = field.kind.iter().map(|(k, v)| (*k, v.to_bits())).collect();
        let key =
            (name.short.clone(), field.parameter, field.level.name.clone(), field.grid, field.step_type.clone(), kind);
        let family = *index.entry(key).or_insert_with(|| {
            families.push((name, Vec::new()));
            families.len() - 1
        });
        let Some((_, layers)) = families.get_mut(family) else { continue };
        let layer = (0..layers.len()).find(|&l| !seen.contains(&(family, l, places(field)))).unwrap_or(layers.len());
        seen.insert((family, layer, places(field)));
        match layers.get_mut(layer) {
            Some(known) => known.push(i),
            None => layers.push(vec![i]),
        }
    }
    let mut out = Vec::new();
    for (name, layers) in families {
        for layer in layers {
            span(fields, &name, layer, &mut out);
        }
    }
    name_all(fields, &mut out);
    out
}

/// One cube if at least half of it is there, else several.
fn span(fields: &[Field], name: &Name, members: Vec<usize>, out: &mut Vec<Cube>) {
    let axes: [BTreeMap<Place, usize>; AXES] =
        std::array::from_fn(|axis| members.iter().rev().map(|&i| (place(&fields[i], axis), i)).collect());
    let size = axes.iter().fold(1usize, |n, a| n.saturating_mul(a.len()));
    if members.len() < size.div_ceil(2) {
        let thinnest = (0..AXES).filter(|&a| axes[a].len() > 1).min_by_key(|&a| axes[a].len()).unwrap_or(TIME);
        let mut parts: BTreeMap<Place, Vec<usize>> = BTreeMap::new();
        for i in members {
            parts.entry(place(&fields[i], thinnest)).or_default().push(i);
        }
        return parts.into_values().for_each(|part| span(fields, name, part, out));
    }
    let mut order = axes.map(|a| a.into_iter().collect::<Vec<_>>());
    // Levels run as in the file: down if its first lies above its last.
    if let (Some(&first), Some(&last)) = (members.first(), members.last())
        && place(&fields[first], LEVEL) > place(&fields[last], LEVEL)
    {
        order[LEVEL].reverse();
    }
    let position: [HashMap<Place, usize>; AXES] =
        std::array::from_fn(|axis| order[axis].iter().enumerate().map(|(n, (p, _))| (*p, n)).collect());
    let mut slots = vec![None; size];
    for &i in &members {
        let at = (0..AXES).fold(0, |at, axis| at * order[axis].len() + position[axis][&place(&fields[i], axis)]);
        slots[at] = Some(i);
    }
    let axes = order.map(|a| a.into_iter().map(|(_, i)| i).collect());
    out.push(Cube { variable: name.short.clone(), name: name.clone(), axes, slots });
}

impl Cube {
    /// A field of the cube; what its family shares can be read off it.
    pub(super) fn sample<'f>(&self, fields: &'f [Field]) -> &'f Field {
        // (*) every axis has a value, since a family has a field.
        &fields[self.axes[TIME][0]]
    }

    /// Fields that are there.
    pub(super) fn present(&self) -> impl Iterator<Item = usize> + '_ {
        self.slots.iter().flatten().copied()
    }
}

/// Gives each cube a name of its own.
fn name_all(fields: &[Field], cubes: &mut [Cube]) {
    let level = |c: &Cube| c.sample(fields).level.name.clone();
    let statistic = |c: &Cube| c.sample(fields).step_type.clone();
    let kind = |c: &Cube| {
        let text: Vec<_> = c.sample(fields).kind.iter().map(|(k, v)| format!("{k}{v}")).collect();
        text.join("_").replace(|c: char| !c.is_ascii_alphanumeric(), "_")
    };
    let keys: [&dyn Fn(&Cube) -> String; 3] = [&level, &statistic, &kind];
    for (k, key) in keys.into_iter().enumerate() {
        let mut same: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (i, c) in cubes.iter().enumerate() {
            same.entry(c.variable.clone()).or_default().push(i);
        }
        for clash in same.into_values() {
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            for &i in &clash {
                *counts.entry(key(&cubes[i])).or_default() += cubes[i].present().count();
            }
            if counts.len() < 2 {
                continue;
            }
            // The type of level with most fields, and instants, keep the plain name.
            let most = counts.values().max().copied().unwrap_or(0);
            let alone = counts.values().filter(|&&n| n == most).count() == 1;
            for i in clash {
                let value = key(&cubes[i]);
                let plain = match k {
                    0 => alone && counts.get(&value) == Some(&most),
                    1 => value == "instant",
                    _ => value.is_empty(),
                };
                if !plain {
                    cubes[i].variable = format!("{}_{value}", cubes[i].variable);
                }
            }
        }
    }
    let mut used = BTreeSet::new();
    for c in cubes {
        c.variable = unique(&mut used, &c.variable);
    }
}

/// `name`, or `name_2`, `name_3`, ... if it is taken; takes it.
pub(super) fn unique(used: &mut BTreeSet<String>, name: &str) -> String {
    let numbered = (2..).map(|n| format!("{name}_{n}"));
    let free = std::iter::once(name.to_owned()).chain(numbered).find(|n| !used.contains(n)).unwrap_or_default();
    used.insert(free.clone());
    free
}
