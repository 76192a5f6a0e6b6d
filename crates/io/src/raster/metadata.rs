//! What a file says of its values: attributes of the variable, and back.
//!
//! | TIFF | attribute |
//! |---|---|
//! | nodata (42113) | `_FillValue`; `GDAL_NODATA` if it is no value of the type |
//! | descriptions, units of bands | `long_name`, `units`: a text if all are the same, else one for each band |
//! | scales, offsets of bands | `scale_factor`, `add_offset` if all are the same, else `scales`, `offsets` |
//! | GDAL's items for the whole file | an attribute each |
//! | GDAL's other items | `GDAL_METADATA`, as in the file |
//! | colours, texts of TIFF | as in `tags` |

use lithify_codec::{Dtype, Sample, Samples, match_dtype};

use super::geo::GRID_MAPPING;
use super::ifd::{Directory, Tiff};
use super::layout::{Compression, Layout};
use super::tags::*;
use super::xml::{self, Item};
use crate::error::Result;
use crate::model::{AttrValue, Attribute, Variable};

/// GDAL's name for the name of a variable.
const VARIABLE_NAME: &str = "NETCDF_VARNAME";
const FILL_VALUE: &str = "_FillValue";
const METADATA: &str = "GDAL_METADATA";
const NODATA: &str = "GDAL_NODATA";
/// Attributes with a meaning of their own here; items of these names stay in `GDAL_METADATA`.
const RESERVED: &[&str] = &[
    FILL_VALUE,
    METADATA,
    NODATA,
    "long_name",
    "units",
    "scale_factor",
    "add_offset",
    "scales",
    "offsets",
    "grid_mapping",
    "coordinates",
    "missing_value",
    "_Unsigned",
    "flag_values",
    "flag_masks",
];

/// What GDAL's items say band by band, with the value of a band that they say nothing of.
const ROLES: &[(&str, &str)] = &[("description", ""), ("unittype", ""), ("scale", "1"), ("offset", "0")];

/// Attributes of the variable, its name if the file says it, and notes on what cannot be kept.
pub(super) fn read(
    tiff: &Tiff,
    d: &Directory,
    layout: &Layout,
) -> Result<(Vec<Attribute>, Option<String>, Vec<String>)> {
    let (mut attrs, mut notes) = (Vec::new(), Vec::new());
    if let Some(text) = tiff.text(d, GDAL_NODATA)? {
        attrs.push(match fill_value(&text, layout.dtype) {
            Some(fill) => Attribute::numbers(FILL_VALUE, fill),
            None => Attribute::text(NODATA, text),
        });
    }
    let items = match tiff.text(d, GDAL_METADATA)? {
        Some(text) => xml::parse(&text).unwrap_or_else(|| {
            notes.push("GDAL's metadata are not well-formed and are left out".into());
            Vec::new()
        }),
        None => Vec::new(),
    };
    let mut by_role: Vec<Vec<String>> = ROLES.iter().map(|(_, none)| vec![none.to_string(); layout.bands]).collect();
    let (mut texts, mut rest, mut name) = (Vec::new(), Vec::new(), None);
    for item in items {
        let role = ROLES.iter().position(|(r, _)| item.role.as_deref() == Some(r));
        match (role, item.sample) {
            (Some(r), Some(band)) if band < layout.bands => by_role[r][band] = item.text,
            (None, None) if item.role.is_none() && item.domain.is_none() && item.name == VARIABLE_NAME => {
                name = Some(item.text);
            }
            (None, None) if item.role.is_none() && item.domain.is_none() && !is_reserved(&item.name) => {
                texts.push(Attribute::text(item.name, item.text));
            }
            _ => rest.push(item),
        }
    }
    let [descriptions, units, scales, offsets] = by_role.as_slice() else { return Ok((attrs, name, notes)) };
    attrs.extend(text_attr("long_name", descriptions));
    attrs.extend(text_attr("units", units));
    for (one, many, texts, none) in [("scale_factor", "scales", scales, 1.0), ("add_offset", "offsets", offsets, 0.0)] {
        let all: Vec<f64> = texts.iter().map(|t| t.trim().parse().unwrap_or(none)).collect();
        match all.iter().all(|v| *v == all[0]) {
            true if all[0] == none => {}
            true => attrs.push(Attribute::numbers(one, Samples::F64(vec![all[0]]))),
            false => attrs.push(Attribute::numbers(many, Samples::F64(all))),
        }
    }
    attrs.extend(texts);
    if let Some(xml) = xml::build(&rest) {
        attrs.push(Attribute::text(METADATA, xml));
    }
    for (tag, name) in TEXTS {
        attrs.extend(tiff.text(d, *tag)?.filter(|t| !t.is_empty()).map(|t| Attribute::text(*name, t)));
    }
    attrs.extend(colors(tiff, d, layout)?);
    Ok((attrs, name.filter(|n| !n.is_empty()), notes))
}

fn is_reserved(name: &str) -> bool {
    let in_tags = |table: &[(u16, &str)]| table.iter().any(|(_, n)| *n == name);
    name.is_empty() || RESERVED.contains(&name) || in_tags(TEXTS) || in_tags(COLORS)
}

/// Texts of bands; none if all are empty.
fn text_attr(name: &str, all: &[String]) -> Option<Attribute> {
    match all {
        [] => None,
        [first, rest @ ..] if rest.iter().all(|t| t == first) => {
            (!first.is_empty()).then(|| Attribute::text(name, first.clone()))
        }
        _ => Some(Attribute { name: name.into(), value: AttrValue::Strings(all.to_vec()) }),
    }
}

/// Colours, unless they are what a reader takes for granted: gray, and extra bands of no meaning.
fn colors(tiff: &Tiff, d: &Directory, layout: &Layout) -> Result<Vec<Attribute>> {
    let photometric = match tiff.one(d, PHOTOMETRIC, 1)? as u16 {
        6 if matches!(layout.compression, Compression::Jpeg { .. }) => 2,
        other => other,
    };
    let mut out = Vec::new();
    for (tag, name) in COLORS {
        let values: Vec<u16> = match *tag {
            PHOTOMETRIC => vec![photometric],
            tag => tiff.unsigned(d, tag)?.into_iter().map(|v| v as u16).collect(),
        };
        let usual = match *tag {
            PHOTOMETRIC => photometric == 1,
            _ => values.iter().all(|v| *v == 0),
        };
        if !usual {
            out.push(Attribute::numbers(*name, Samples::U16(values)));
        }
    }
    Ok(out)
}

/// A nodata value in the type of the samples, if it is a value of it. Floats are rounded, as other readers do.
fn fill_value(text: &str, dtype: Dtype) -> Option<Samples> {
    let text = text.trim();
    if let (Ok(n), true) = (text.parse::<i128>(), !dtype.is_float()) {
        return Some(match dtype {
            Dtype::I64 => Samples::I64(vec![n.try_into().ok()?]),
            Dtype::U64 => Samples::U64(vec![n.try_into().ok()?]),
            _ => whole(n as f64, dtype)?,
        });
    }
    let value: f64 = text.to_lowercase().parse().ok()?;
    match dtype {
        Dtype::F32 if value.is_finite() && !(value as f32).is_finite() => None,
        Dtype::F32 => Some(Samples::F32(vec![value as f32])),
        Dtype::F64 => Some(Samples::F64(vec![value])),
        _ => whole(value, dtype),
    }
}

fn whole(value: f64, dtype: Dtype) -> Option<Samples> {
    match_dtype!(dtype, T => {
        let sample = <T as Sample>::from_f64(value);
        (Sample::to_f64(sample) == value).then(|| T::wrap(vec![sample]))
    })
}

/// The value that marks missing samples.
pub(super) fn fill(attrs: &[Attribute]) -> Option<&Samples> {
    match crate::model::attr(attrs, FILL_VALUE)? {
        AttrValue::Numbers(n) => Some(n),
        _ => None,
    }
}

/// A number as GDAL reads it.
fn number(n: &Samples, i: usize) -> String {
    match n {
        Samples::I64(v) => v[i].to_string(),
        Samples::U64(v) => v[i].to_string(),
        n if n.f64(i).is_nan() => "nan".into(),
        n => n.f64(i).to_string(),
    }
}

/// The text for nodata.
pub(super) fn nodata(v: &Variable) -> Option<String> {
    match v.attr(FILL_VALUE) {
        Some(AttrValue::Numbers(n)) if n.len() == 1 => Some(number(n, 0)),
        _ => v.attr(NODATA).and_then(AttrValue::as_text).map(String::from),
    }
}

/// GDAL's metadata for a variable in a file called `stem`, of these bands of those that its attributes speak of.
pub(super) fn build(v: &Variable, bands: &[usize], stem: &str) -> Option<String> {
    let file = |name: &str, text: &str| Item { name: name.into(), text: text.into(), ..Item::default() };
    let mut items = Vec::new();
    if v.name != stem {
        items.push(file(VARIABLE_NAME, &v.name));
    }
    for a in &v.attrs {
        if is_reserved(&a.name) || a.name == GRID_MAPPING {
            continue;
        }
        match &a.value {
            AttrValue::Text(t) => items.push(file(&a.name, t)),
            AttrValue::Strings(all) => items.push(file(&a.name, &all.join("\n"))),
            AttrValue::Numbers(n) => {
                let all: Vec<_> = (0..n.len()).map(|i| number(n, i)).collect();
                items.push(file(&a.name, &all.join(" ")));
            }
        }
    }
    for mut item in v.attr(METADATA).and_then(AttrValue::as_text).and_then(xml::parse).unwrap_or_default() {
        let moved = item.sample.map(|was| bands.iter().position(|b| *b == was));
        if moved != Some(None) {
            item.sample = moved.flatten();
            items.push(item);
        }
    }
    let attributes = [&["long_name"][..], &["units"], &["scale_factor", "scales"], &["add_offset", "offsets"]];
    for ((role, none), names) in ROLES.iter().zip(attributes) {
        let Some(value) = names.iter().find_map(|n| v.attr(n)) else { continue };
        for (band, was) in bands.iter().enumerate() {
            let text = match value {
                AttrValue::Text(t) => t.clone(),
                AttrValue::Strings(all) => all.get(*was).cloned().unwrap_or_default(),
                AttrValue::Numbers(n) if n.len() == 1 => number(n, 0),
                AttrValue::Numbers(n) if *was < n.len() => number(n, *was),
                AttrValue::Numbers(_) => none.to_string(),
            };
            if text != *none {
                let (name, role) = (role.to_uppercase(), Some(role.to_string()));
                items.push(Item { name, sample: Some(band), role, domain: None, text });
            }
        }
    }
    xml::build(&items)
}

/// A tag of whole numbers that the variable has as an attribute.
pub(super) fn color(v: &Variable, tag: u16) -> Option<Vec<u16>> {
    let (_, name) = COLORS.iter().find(|(t, _)| *t == tag)?;
    match v.attr(name)? {
        AttrValue::Numbers(n) => Some(n.to_f64().into_iter().map(|v| v as u16).collect()),
        _ => None,
    }
}
