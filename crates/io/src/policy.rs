//! Who may be lossy. Coordinates, bounds, flags and everything else that CF forbids to touch never are.

use std::collections::{BTreeMap, BTreeSet};

use lithify_codec::{Affine, Bound, Dtype, Promise, Sample, Samples, match_dtype};

use crate::error::{Error, Result};
use crate::model::{AttrValue, DataType, Group, Variable};

/// A bound asked for on the command line or in Python: for one variable, or for all data variables.
#[derive(Debug, Clone, PartialEq)]
pub struct BoundRule {
    /// Path or name; `None` is every data variable.
    pub variable: Option<String>,
    /// What must hold.
    pub promise: Promise,
}

impl std::str::FromStr for BoundRule {
    type Err = lithify_codec::Error;

    fn from_str(s: &str) -> std::result::Result<Self, Self::Err> {
        // Bounds contain no colon, so the last one ends the variable's name.
        match s.rsplit_once(':') {
            Some((variable, promise)) => Ok(Self { variable: Some(variable.trim().into()), promise: promise.parse()? }),
            None => Ok(Self { variable: None, promise: s.parse()? }),
        }
    }
}

/// Under a rule for all variables, smaller ones stay lossless: they are not where the bytes are, and often not data.
pub const SMALL: usize = 4096;

/// Why a variable must stay as it is; `None` if it holds data.
pub type Role = Option<&'static str>;

/// Roles that no other variable is understood by: these may be stored with our own codec, without loss.
const DATA_LIKE: &[&str] = &[FLAG, UNSIGNED];
const FLAG: &str = "a flag";
const UNSIGNED: &str = "an integer read with another sign (_Unsigned)";

/// Whether a variable of this role is stored so that any Zarr reader opens it.
pub fn is_plain(role: Role) -> bool {
    role.is_some_and(|r| !DATA_LIKE.contains(&r))
}

/// Attributes that name other variables, and what those are.
const REFERENCES: &[(&str, &str)] = &[
    ("coordinates", "a coordinate"),
    ("bounds", "the bounds of a coordinate"),
    ("climatology", "the bounds of a coordinate"),
    ("grid_mapping", "a grid mapping"),
    ("cell_measures", "a cell measure"),
    ("formula_terms", "a term of a vertical coordinate"),
    ("node_coordinates", "a grid coordinate"),
    ("face_node_connectivity", "a grid topology"),
];

/// Paths that the attributes of the variable at `path` may name, with their roles.
fn references<'a>(path: &'a str, v: &'a Variable) -> impl Iterator<Item = (String, &'static str)> + 'a {
    REFERENCES.iter().flat_map(move |(attribute, role)| {
        let text = v.attr(attribute).and_then(AttrValue::as_text).unwrap_or_default();
        let names = text.split_whitespace().filter(|w| !w.ends_with(':'));
        names.flat_map(move |name| candidates(path, name)).map(move |target| (target, *role))
    })
}

/// Paths of the variables that the variable at `path` needs to be understood, as far as its attributes tell.
pub fn companions(path: &str, v: &Variable) -> Vec<String> {
    references(path, v).map(|(target, _)| target).collect()
}

/// The role of every variable, by path.
pub fn roles(root: &Group) -> BTreeMap<String, Role> {
    let all = root.walk();
    let mut named: BTreeMap<String, &'static str> = BTreeMap::new();
    for (path, v) in &all {
        for (target, role) in references(path, v) {
            named.entry(target).or_insert(role);
        }
    }
    all.iter().map(|(path, v)| (path.clone(), own_role(v).or_else(|| named.get(path).copied()))).collect()
}

/// Where a name used by the variable at `path` may be found: in its group and in every parent.
fn candidates(path: &str, name: &str) -> Vec<String> {
    let mut group = path.rsplit_once('/').map_or("", |(g, _)| g);
    let mut out = vec![name.trim_start_matches('/').to_string()];
    while !group.is_empty() {
        out.push(format!("{group}/{name}"));
        group = group.rsplit_once('/').map_or("", |(g, _)| g);
    }
    out
}

fn own_role(v: &Variable) -> Role {
    let text = |name: &str| v.attr(name).and_then(AttrValue::as_text).unwrap_or_default();
    let units = text("units").to_lowercase();
    let standard = text("standard_name");
    if !matches!(v.data_type, DataType::Number(_)) {
        Some("text")
    } else if v.dims.len() == 1 && v.dims[0] == v.name {
        Some("a coordinate")
    } else if v.attr("_Unsigned").is_some() {
        Some(UNSIGNED)
    } else if v.attr("flag_values").is_some() || v.attr("flag_masks").is_some() {
        Some(FLAG)
    } else if ["latitude", "longitude", "time", "projection_x_coordinate", "projection_y_coordinate"]
        .contains(&standard)
        || ["degrees_north", "degrees_east", "degree_north", "degree_east"].contains(&units.as_str())
        || units.contains(" since ")
        || v.attr("axis").is_some()
    {
        Some("a coordinate")
    } else if v.attr("grid_mapping_name").is_some() {
        Some("a grid mapping")
    } else {
        None
    }
}

/// Whether a variable holds longitudes in degrees, which go round.
pub fn is_longitude(v: &Variable) -> bool {
    let units = ["degrees_east", "degree_east", "degrees_E", "degree_E", "degreesE", "degreeE"];
    is_geographic(v, "longitude", &units, "X")
}

/// Whether a variable holds latitudes in degrees.
pub fn is_latitude(v: &Variable) -> bool {
    let units = ["degrees_north", "degree_north", "degrees_N", "degree_N", "degreesN", "degreeN"];
    is_geographic(v, "latitude", &units, "Y")
}

/// By its standard name or its units; or by its axis, if it has plain degrees and no other standard name: those of a rotated pole have.
fn is_geographic(v: &Variable, name: &str, units: &[&str], axis: &str) -> bool {
    let text = |name: &str| v.attr(name).and_then(AttrValue::as_text).unwrap_or_default();
    let plain =
        text("axis") == axis && text("standard_name").is_empty() && ["degrees", "degree"].contains(&text("units"));
    text("standard_name") == name || units.contains(&text("units")) || plain
}

/// CF packing of a variable; identity if it is not packed.
pub fn affine(v: &Variable) -> Affine {
    let number = |name: &str| v.attr(name).and_then(AttrValue::as_f64);
    let scale = number("scale_factor").filter(|s| s.is_finite() && *s != 0.0).unwrap_or(1.0);
    let offset = number("add_offset").filter(|o| o.is_finite()).unwrap_or(0.0);
    Affine { scale, offset }
}

/// What NetCDF writes where nothing was written, by type; single bytes have no such value that readers agree on.
fn netcdf_default_fill(dtype: Dtype) -> Option<Samples> {
    Some(match dtype {
        Dtype::F32 => Samples::F32(vec![9.969_21e36]),
        Dtype::F64 => Samples::F64(vec![9.969_209_968_386_869e36]),
        Dtype::I16 => Samples::I16(vec![-32767]),
        Dtype::I32 => Samples::I32(vec![-2_147_483_647]),
        Dtype::U16 => Samples::U16(vec![u16::MAX]),
        Dtype::U32 => Samples::U32(vec![u32::MAX]),
        Dtype::I64 => Samples::I64(vec![i64::MIN + 2]),
        Dtype::U64 => Samples::U64(vec![u64::MAX - 1]),
        Dtype::I8 | Dtype::U8 => return None,
    })
}

/// Bit patterns that mark missing samples: `_FillValue` and `missing_value`, rounded to the variable's own type where they have
/// another; without `_FillValue`, NetCDF's default in what holds measurements (floats and packed integers), as other readers do.
pub fn missing_patterns(v: &Variable) -> Vec<u64> {
    let Some(dtype) = v.dtype() else { return Vec::new() };
    let mut bits = BTreeSet::new();
    let mut add = |n: &Samples| {
        for i in 0..n.len() {
            if n.dtype() == dtype {
                bits.insert(n.bits(i));
                continue;
            }
            let value = n.f64(i);
            match_dtype!(dtype, T => {
                let sample = <T as Sample>::from_f64(value);
                let back = Sample::to_f64(sample);
                if back == value || (dtype.is_float() && back.is_finite()) {
                    bits.insert(Sample::to_bits(sample));
                }
            });
        }
    };
    for name in ["_FillValue", "missing_value"] {
        match v.attr(name) {
            Some(AttrValue::Numbers(n)) => add(n),
            // Some writers put the number as text.
            Some(text) => {
                if let Some(number) = text.as_text().and_then(|t| t.trim().parse::<f64>().ok()) {
                    add(&Samples::F64(vec![number]));
                }
            }
            None => {}
        }
    }
    let measured = dtype.is_float() || affine(v) != Affine::IDENTITY;
    if measured && v.attr("_FillValue").is_none() {
        netcdf_default_fill(dtype).iter().for_each(add);
    }
    // -0.0 and 0.0 are one value to whoever compares them.
    match dtype {
        Dtype::F32 if bits.contains(&0) || bits.contains(&(1 << 31)) => bits.extend([0, 1 << 31]),
        Dtype::F64 if bits.contains(&0) || bits.contains(&(1 << 63)) => bits.extend([0, 1 << 63]),
        _ => {}
    }
    bits.into_iter().collect()
}

/// The promise for each variable, by path: all rules that name it together; where none does, all general ones together.
///
/// # Errors
/// [`Error::Invalid`] if a rule names a variable that is not there, or one that must not or cannot be lossy.
pub fn promises(root: &Group, rules: &[BoundRule]) -> Result<BTreeMap<String, Promise>> {
    let roles = roles(root);
    let all = root.walk();
    let mut out: BTreeMap<String, Promise> = all.iter().map(|(p, _)| (p.clone(), Promise::lossless())).collect();
    let n_data = all.iter().filter(|(p, v)| roles[p].is_none() && v.dtype().is_some()).count();
    let mut given: BTreeMap<(bool, String), Promise> = BTreeMap::new();
    let mut add = |named: bool, path: &str, promise: &Promise| -> Result<Promise> {
        let all = match given.remove(&(named, path.into())) {
            // As if they had been joined by commas.
            Some(before) => format!("{before},{promise}").parse()?,
            None => promise.clone(),
        };
        given.insert((named, path.into()), all.clone());
        Ok(all)
    };
    for rule in rules.iter().filter(|r| r.variable.is_none()) {
        for (path, v) in &all {
            let packed = affine(v) != Affine::IDENTITY;
            let big = v.len() >= SMALL || (n_data == 1 && all.len() == 1);
            // Packed integers have no mantissa to round.
            let packed = packed && !rule.promise.0.iter().any(|b| matches!(b, Bound::Bits(_)));
            if roles[path].is_none() && big && v.dtype().is_some_and(|d| d.is_float() || packed) {
                out.insert(path.clone(), add(false, path, &rule.promise)?);
            }
        }
    }
    for rule in rules {
        let Some(name) = &rule.variable else { continue };
        let v = root.find(name)?;
        let path = name.trim_start_matches('/');
        if !rule.promise.is_lossless() {
            if let Some(role) = roles.get(path).copied().flatten() {
                return Err(Error::invalid(
                    format!("{path} is {role} and stays lossless; leave out"),
                    format!("{name}:{}", rule.promise),
                ));
            }
            check_type(path, v, &rule.promise)?;
        }
        out.insert(path.into(), add(true, path, &rule.promise)?);
    }
    Ok(out)
}

/// Whole numbers cannot be off by a part of one, and have no mantissa.
fn check_type(path: &str, v: &Variable, promise: &Promise) -> Result<()> {
    let Some(dtype) = v.dtype() else { return Ok(()) };
    let quantum = affine(v).scale.abs();
    for bound in &promise.0 {
        match *bound {
            Bound::Abs(e) if !dtype.is_float() && affine(v) == Affine::IDENTITY && e < quantum => {
                return Err(Error::invalid(
                    format!("{path} holds whole numbers ({dtype}): ask for abs=1 or more, or lossless"),
                    bound,
                ));
            }
            Bound::Bits(_) if !dtype.is_float() => {
                return Err(Error::invalid(
                    format!("{path} holds integers ({dtype}), which have no mantissa bits to round"),
                    bound,
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use lithify_codec::Samples;

    use super::*;
    use crate::model::Attribute;

    fn variable(name: &str, dims: &[&str], n: usize, attrs: Vec<Attribute>) -> Variable {
        Variable {
            name: name.into(),
            dims: dims.iter().map(|d| d.to_string()).collect(),
            shape: vec![n; dims.len()],
            data_type: DataType::Number(Dtype::F32),
            attrs,
            chunks: None,
        }
    }

    fn sample() -> Group {
        Group {
            variables: vec![
                variable("lat", &["lat"], 100, vec![]),
                variable("xc", &["y", "x"], 100, vec![]),
                variable("flag", &["y", "x"], 100, vec![Attribute::numbers("flag_values", Samples::I8(vec![1, 2]))]),
                variable("small", &["time"], 100, vec![]),
                variable("T", &["y", "x"], 100, vec![Attribute::text("coordinates", "lat xc")]),
            ],
            ..Group::default()
        }
    }

    #[test]
    fn a_general_rule_touches_data_only() {
        let p = promises(&sample(), &["abs=0.1".parse().unwrap()]).unwrap();
        let lossy: Vec<_> = p.iter().filter(|(_, p)| !p.is_lossless()).map(|(k, _)| k.as_str()).collect();
        assert_eq!(lossy, ["T"]);
    }

    #[test]
    fn named_rules_win_and_are_checked() {
        let rules = |r: &[&str]| r.iter().map(|s| s.parse().unwrap()).collect::<Vec<BoundRule>>();
        let p = promises(&sample(), &rules(&["T:lossless", "abs=0.1", "small:rel=0.1"])).unwrap();
        assert!(p["T"].is_lossless() && !p["small"].is_lossless());
        let p = promises(&sample(), &rules(&["abs=0.1", "rel=0.5", "small:abs=2", "small:abs=1"])).unwrap();
        assert_eq!((p["T"].to_string(), p["small"].to_string()), ("abs=0.1,rel=0.5".into(), "abs=2.0,abs=1.0".into()));
        for bad in [&["nope:abs=1"][..], &["xc:abs=1"], &["flag:abs=1"], &["T:bits=4", "T:abs=1"]] {
            assert!(promises(&sample(), &rules(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_variables_name_may_hold_colons() {
        let rule: BoundRule = "TMP:2m:abs=0.1".parse().unwrap();
        assert_eq!(rule.variable.as_deref(), Some("TMP:2m"));
    }

    #[test]
    fn fill_values_count_in_the_variables_own_type() {
        let fill = |n| variable("v", &["x"], 3, vec![Attribute::numbers("_FillValue", n)]);
        assert_eq!(missing_patterns(&fill(Samples::F32(vec![1e20]))), [u64::from(1e20f32.to_bits())]);
        assert_eq!(missing_patterns(&fill(Samples::F64(vec![f64::from(1e20f32)]))), [u64::from(1e20f32.to_bits())]);
        assert_eq!(missing_patterns(&fill(Samples::F64(vec![0.1]))), [u64::from(0.1f32.to_bits())]);
        assert_eq!(missing_patterns(&fill(Samples::I16(vec![0]))), [0, 1 << 31]);
        let default = u64::from(9.969_21e36f32.to_bits());
        assert_eq!(missing_patterns(&variable("v", &["x"], 3, vec![])), [default]);
        let text = variable("v", &["x"], 3, vec![Attribute::text("missing_value", "-999")]);
        assert_eq!(missing_patterns(&text), [default, u64::from((-999f32).to_bits())]);
    }
}
