//! GRIB edition 2: sections 1 to 7, repeated for messages of several fields.
//!
//! # Reference
//! WMO Manual on Codes, volume I.2, FM 92 GRIB edition 2: templates 3.n, 4.n, 5.n and their code tables.

use super::field::{Field, Grids, Parameter, Span, seconds_since_1970, unit_seconds};
use super::grid::{Geometry, Grid, LatLon, projected, row_lengths};
use super::level::Level;
use super::octets::{Octets, Parse, corrupt, over_power_of_ten, unsupported};
use super::projection::{Earth, Projection};
use super::scan::{Input, Message};
use super::unpack::Packing;

/// Appends the fields of a message.
pub(super) fn fields(message: &Message, input: &mut Input<'_>, grids: &mut Grids, out: &mut Vec<Field>) -> Parse<()> {
    let centre = message.bytes(input, 6, 1)?;
    let discipline = centre.first().copied().unwrap_or(0);
    let (mut identity, mut product) = (None, None);
    let (mut grid, mut packing, mut bitmap, mut last_bitmap) = (None, None, None, None);
    let mut at = 16;
    // Sections 2 to 7, 3 to 7 or 4 to 7 may repeat; what is not repeated stays in force.
    while at + 4 < message.len {
        let head = message.bytes(input, at, 5)?;
        let head = Octets::new(0, &head);
        let (len, section) = (head.uint(1, 4)?, head.u8(5)?);
        if len < 5 || at + len > message.len - 4 {
            return corrupt(format!("section {section} at byte {at} of the message does not fit"));
        }
        match section {
            1 => identity = Some(message.bytes(input, at, len)?),
            3 => {
                let bytes = message.bytes(input, at, len)?;
                grid = Some(grids.intern(&bytes, || parse_grid(&bytes))?);
            }
            4 => product = Some(message.bytes(input, at, len)?),
            5 => {
                let bytes = message.bytes(input, at, len)?;
                packing = Some(Packing::from_section5(&Octets::new(5, &bytes))?);
            }
            6 => {
                let indicator = message.bytes(input, at + 5, 1)?;
                bitmap = match indicator.first() {
                    Some(255) => None,
                    Some(0) => {
                        last_bitmap = Some(Span { at: message.at + at + 6, len: len as usize - 6 });
                        last_bitmap
                    }
                    Some(254) if last_bitmap.is_some() => last_bitmap,
                    Some(254) => return corrupt("it repeats a bitmap that it does not have"),
                    _ => return unsupported("its bitmap is kept by the centre and is not in the file"),
                };
            }
            7 => {
                let (Some(identity), Some(product), Some(grid), Some(packing)) =
                    (&identity, &product, grid, packing.take())
                else {
                    return corrupt("data before the sections that describe them");
                };
                let data = Span { at: message.at + at + 5, len: len as usize - 5 };
                let (identity, product) = (Octets::new(1, identity), Octets::new(4, product));
                let mut field = describe(&identity, &product, discipline)?;
                (field.message, field.offset) = (message.number, message.at);
                (field.grid, field.packing, field.data, field.bitmap) = (grid, packing, data, bitmap);
                out.push(field);
            }
            2 => {}
            other => return corrupt(format!("section number {other}")),
        }
        at += len;
    }
    Ok(())
}

/// Where a product definition template keeps what differs between templates.
#[derive(Default)]
struct Layout {
    /// Octets by which everything after the parameter number is shifted.
    shift: usize,
    /// Octets of what tells members, derived products, ... apart: name, octet.
    keys: &'static [(&'static str, usize)],
    /// Octet of the perturbation number.
    member: Option<usize>,
    /// Octet of the end of the interval.
    interval: Option<usize>,
}

/// Octets without the shift. `None` if the template has no forecast time and fixed surfaces at the usual place.
fn layout(template: u16) -> Option<Layout> {
    let keys: &[_] = match template {
        2 | 3 | 4 | 12 | 13 | 14 => &[("derivedForecast", 35)],
        5 | 9 => &[("probabilityType", 37)],
        6 | 10 => &[("percentileValue", 35)],
        15 => &[("statisticalProcess", 35), ("spatialProcessing", 36)],
        40..=43 => &[("constituentType", 12)],
        44..=49 => &[("aerosolType", 12)],
        _ => &[],
    };
    let (shift, member, interval) = match template {
        0 | 2 | 5 | 6 | 7 | 15 => (0, None, None),
        1 | 60 => (0, Some(36), None),
        8 => (0, None, Some(35)),
        9 => (0, None, Some(48)),
        10 => (0, None, Some(36)),
        11 => (0, Some(36), Some(38)),
        12 => (0, None, Some(37)),
        61 => (0, Some(36), Some(45)),
        40 => (2, None, None),
        41 => (2, Some(36), None),
        42 => (2, None, Some(35)),
        43 => (2, Some(36), Some(38)),
        44 => (13, None, None),
        45 => (13, Some(36), None),
        46 => (13, None, Some(35)),
        47 => (13, Some(36), Some(38)),
        48 => (24, None, None),
        49 => (24, Some(36), None),
        _ => return None,
    };
    Some(Layout { shift, keys, member, interval })
}

/// Sections 1 and 4: everything but the grid and the data.
fn describe(identity: &Octets<'_>, product: &Octets<'_>, discipline: u8) -> Parse<Field> {
    let octet = |at| identity.u8(at).map(i64::from);
    let date = |s: &Octets<'_>, at: usize| -> Parse<i64> {
        let o = |k| s.u8(at + k).map(i64::from);
        Ok(seconds_since_1970(s.u16(at)?.into(), o(2)?, o(3)?, o(4)?, o(5)?, o(6)?))
    };
    let time = date(identity, 13)?;
    let template = product.u16(8)?;
    let mut field = Field {
        message: 0,
        offset: 0,
        edition: 2,
        centre: identity.u16(6)?,
        sub_centre: identity.u16(8)?,
        parameter: Parameter::Edition2(discipline, product.u8(10)?, product.u8(11)?),
        level: Level::none(),
        time,
        step: 0,
        step_start: 0,
        step_type: "instant".into(),
        number: None,
        kind: Vec::new(),
        data_type: Some(octet(21)? as u8),
        grid: 0,
        packing: Packing::NONE,
        data: Span { at: 0, len: 0 },
        bitmap: None,
    };
    let Some(layout) = layout(template) else {
        field.kind.push(("productDefinitionTemplateNumber", template.into()));
        return Ok(field);
    };
    let shift = layout.shift;
    let Some(unit) = unit_seconds(product.u8(18 + shift)?, 2) else {
        return unsupported(format!("unit of time {} (code table 4.4)", product.u8(18 + shift)?));
    };
    let start = product.int(19 + shift, 4)?.saturating_mul(unit);
    (field.step_start, field.step) = (start, start);
    field.level = Level::from_surfaces(product, 23 + shift)?;
    for &(name, at) in layout.keys {
        let value = if name == "constituentType" || name == "aerosolType" {
            product.u16(at)?.into()
        } else {
            f64::from(product.u8(at + shift)?)
        };
        field.kind.push((name, value));
    }
    if matches!(template, 5 | 9) {
        for (name, at) in [("lowerLimit", 38), ("upperLimit", 43)] {
            let limit = product.scaled(at)?;
            if !limit.is_nan() {
                field.kind.push((name, limit));
            }
        }
    }
    if let Some(at) = layout.member {
        field.number = Some(product.u8(at + shift)?.into());
    }
    if let Some(at) = layout.interval {
        let at = at + shift;
        let process = product.u8(at + 12)?;
        field.step_type = match process {
            0 => "avg".into(),
            1 => "accum".into(),
            2 => "max".into(),
            3 => "min".into(),
            4 => "diff".into(),
            5 => "rms".into(),
            6 => "sd".into(),
            7 => "cov".into(),
            9 => "ratio".into(),
            11 => "sum".into(),
            other => format!("stat{other}"),
        };
        // Some producers leave the end of the interval empty; then its length counts.
        let year = product.u16(at)?;
        field.step = if year == 0 || year == u16::MAX {
            let unit = unit_seconds(product.u8(at + 14)?, 2).unwrap_or(3600);
            start.saturating_add(product.int(at + 15, 4)?.saturating_mul(unit))
        } else {
            date(product, at)? - time
        };
    }
    Ok(field)
}

fn parse_grid(bytes: &[u8]) -> Parse<Grid> {
    let s = Octets::new(3, bytes);
    let n_points = s.u32(7)? as usize;
    let template = s.u16(13)?;
    let count = |at| s.u32(at).map(|v| v as usize);
    let micro = |at| s.int(at, 4).map(|v| v as f64 / 1e6);
    let milli = |at| s.uint(at, 4).map(|v| v as f64 / 1e3);
    let mut keys = Vec::new();
    let (name, shape, geometry, scan, earth) = match template {
        0 | 1 | 40 | 41 => {
            let (earth, ni, nj, scan) = (earth(&s)?, count(31)?, count(35)?, s.u8(72)?);
            // Angles count in units of a basic angle over its subdivisions; 0 or missing stands for 10^-6 degrees.
            let (basic, parts) = (s.u32(39)?, s.u32(43)?);
            let per_degree = if basic == 0 || basic == u32::MAX || parts == 0 || parts == u32::MAX {
                1e6
            } else {
                f64::from(parts) / f64::from(basic)
            };
            let angle = |at| s.int(at, 4).map(|v| v as f64 / per_degree);
            let (first, last) = ((angle(47)?, angle(51)?), (angle(56)?, angle(60)?));
            let gaussian = template >= 40;
            keys.extend([
                ("latitudeOfFirstGridPointInDegrees", first.0),
                ("longitudeOfFirstGridPointInDegrees", first.1),
                ("latitudeOfLastGridPointInDegrees", last.0),
                ("longitudeOfLastGridPointInDegrees", last.1),
            ]);
            if s.u32(64)? != u32::MAX {
                keys.push(("iDirectionIncrementInDegrees", angle(64)?));
            }
            if gaussian {
                keys.push(("N", s.u32(68)?.into()));
            } else if s.u32(68)? != u32::MAX {
                keys.push(("jDirectionIncrementInDegrees", angle(68)?));
            }
            let rotated = template % 10 == 1;
            let rows = if ni == u32::MAX as usize {
                Some(row_lengths(&s, if rotated { 85 } else { 73 }, s.u8(11)?.into(), nj)?)
            } else {
                None
            };
            let rotation = if rotated { Some(((angle(73)?, angle(77)?), s.f32(81)?)) } else { None };
            let gaussian = if gaussian { Some(count(68)?) } else { None };
            let (name, shape, geometry) = LatLon { ni, nj, first, last, scan, gaussian, rows, rotation }.build()?;
            (name, shape, geometry, scan, earth)
        }
        10 | 20 | 30 => {
            let (earth, ni, nj) = (earth(&s)?, count(31)?, count(35)?);
            let first = (micro(39)?, micro(43)?);
            let true_scale = micro(48)?;
            let (name, projection, steps, scan) = match template {
                10 => ("mercator", Projection::Mercator { true_scale }, (milli(65)?, milli(69)?), s.u8(60)?),
                20 => {
                    let south = s.u8(64)? & 0x80 != 0;
                    let projection = Projection::Stereographic { true_scale, meridian: micro(52)?, south };
                    ("polar_stereographic", projection, (milli(56)?, milli(60)?), s.u8(65)?)
                }
                _ => {
                    let parallels = [micro(66)?, micro(70)?];
                    let projection = Projection::Lambert { parallels, meridian: micro(52)? };
                    ("lambert", projection, (milli(56)?, milli(60)?), s.u8(65)?)
                }
            };
            keys.extend([
                ("latitudeOfFirstGridPointInDegrees", first.0),
                ("longitudeOfFirstGridPointInDegrees", first.1),
                ("LaDInDegrees", true_scale),
                ("DxInMetres", steps.0),
                ("DyInMetres", steps.1),
            ]);
            (name, vec![nj, ni], projected(projection, earth, (ni, nj), first, steps, scan), scan, earth)
        }
        90 | 140 => {
            let name = if template == 90 { "space_view" } else { "lambert_azimuthal_equal_area" };
            (name, vec![count(35)?, count(31)?], Geometry::Plane, s.u8(64)?, earth(&s)?)
        }
        50..=53 => {
            let n = count(15)?;
            let coefficients = n.saturating_add(1).saturating_mul(n.saturating_add(2));
            return Ok(Grid {
                name: "sh",
                shape: vec![coefficients],
                geometry: Geometry::Points,
                scan: 0,
                earth: UNKNOWN,
                keys,
            });
        }
        101 => ("unstructured_grid", vec![n_points], Geometry::Points, 0, UNKNOWN),
        150 => ("healpix", vec![n_points], Geometry::Points, 0, UNKNOWN),
        other => {
            keys.push(("gridDefinitionTemplateNumber", other.into()));
            ("unknown", vec![n_points], Geometry::Points, 0, UNKNOWN)
        }
    };
    let product = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    if product != Some(n_points) {
        return corrupt(format!("a {name} grid of shape {shape:?} with {n_points} points"));
    }
    // Rows shifted by half a step: the values are right, the coordinates would not be.
    let geometry = if scan & 0x0f != 0 && shape.len() == 2 { Geometry::Plane } else { geometry };
    Ok(Grid { name, shape, geometry, scan, earth, keys })
}

/// For grids whose points' places are not in the message.
const UNKNOWN: Earth = Earth { major: f64::NAN, minor: f64::NAN };

/// Code table 3.2.
fn earth(s: &Octets<'_>) -> Parse<Earth> {
    let sphere = |r| Earth { major: r, minor: r };
    let flattened = |a: f64, f: f64| Earth { major: a, minor: a * (1.0 - 1.0 / f) };
    let metres = |at: usize| Ok(over_power_of_ten(s.u32(at + 1)?.into(), s.int(at, 1)? as i32));
    Ok(match s.u8(15)? {
        0 => sphere(6_367_470.0),
        1 => sphere(metres(16)?),
        2 => flattened(6_378_160.0, 297.0),
        3 => Earth { major: metres(21)? * 1000.0, minor: metres(26)? * 1000.0 },
        4 => flattened(6_378_137.0, 298.257_222_101),
        5 => flattened(6_378_137.0, 298.257_223_563),
        7 => Earth { major: metres(21)?, minor: metres(26)? },
        8 => sphere(6_371_200.0),
        9 => flattened(6_377_563.396, 299.324_964_6),
        _ => sphere(6_371_229.0),
    })
}
