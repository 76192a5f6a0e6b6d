//! GRIB edition 1: product, grid, bitmap and data sections.
//!
//! # Reference
//! WMO Manual on Codes, volume I.2, FM 92-XI Ext. GRIB; ECMWF's local definitions 1, 30 and 36 for ensemble members.

use super::field::{Field, Grids, Parameter, Span, seconds_since_1970, unit_seconds};
use super::grid::{Geometry, Grid, LatLon, projected, row_lengths};
use super::level::Level;
use super::octets::{Octets, Parse, corrupt, unsupported};
use super::projection::{Earth, Projection};
use super::scan::{Input, Message};
use super::unpack::{Method, Packing};

const ECMWF: u16 = 98;

/// The one field of a message.
pub(super) fn field(message: &Message, input: &mut Input<'_>, grids: &mut Grids) -> Parse<Field> {
    // Section 1, then those that its octet 8 announces.
    let mut at = 8;
    let product = message.section(input, at, 3)?;
    at += product.len() as u64;
    let flags = Octets::new(1, &product).u8(8)?;
    let grid = if flags & 0x80 != 0 { Some(message.section(input, at, 3)?) } else { None };
    at += grid.as_ref().map_or(0, |g| g.len() as u64);
    let mut bitmap = None;
    if flags & 0x40 != 0 {
        let head = message.bytes(input, at, 6)?;
        let head = Octets::new(3, &head);
        let len = head.uint(1, 3)?;
        if head.u16(5)? != 0 {
            return unsupported("its bitmap is kept by the centre and is not in the file");
        }
        if len < 6 || at + len > message.len {
            return corrupt("the bitmap section does not fit");
        }
        bitmap = Some(Span { at: message.at + at + 6, len: len as usize - 6 });
        at += len;
    }
    let head = message.bytes(input, at, 11)?;
    build(message, &product, grid.as_deref(), bitmap, &head, at, grids)
}

fn build(
    message: &Message,
    product: &[u8],
    grid: Option<&[u8]>,
    bitmap: Option<Span>,
    data: &[u8],
    data_at: u64,
    grids: &mut Grids,
) -> Parse<Field> {
    let s = Octets::new(1, product);
    let data = Octets::new(4, data);
    let mut len = data.uint(1, 3)? as usize;
    let room = (message.len - 4).saturating_sub(data_at) as usize;
    if message.scaled_length {
        len = room;
    }
    if len < 11 || len > room {
        return corrupt("the data section does not fit");
    }
    let flags = data.u8(4)?;
    let packing = Packing {
        method: match flags >> 4 {
            f if f & 8 != 0 => Method::Other("spherical harmonics".into()),
            f if f & 4 != 0 => Method::Other("second-order packing of edition 1".into()),
            _ => Method::Simple,
        },
        reference: data.ibm(7)?,
        binary: data.int(5, 2)? as i32,
        decimal: s.int(27, 2)? as i32,
        bits: data.u8(11)?.into(),
        n_coded: None,
    };
    let bits_of_data = ((len - 11) * 8).saturating_sub(usize::from(flags & 15));
    let n_listed = match (bitmap, packing.bits) {
        (Some(b), _) => b.len * 8,
        (None, 0) => 0,
        (None, bits) => bits_of_data / bits as usize,
    };
    let grid = match grid {
        Some(bytes) => grids.intern(&[&[1], bytes].concat(), || parse_grid(bytes))?,
        // A grid known by number alone: only the number of its points can be told, from the data.
        None => grids.intern(&[&[0, s.u8(7)?], n_listed.to_be_bytes().as_slice()].concat(), || {
            Ok(Grid {
                name: "unknown",
                shape: vec![n_listed],
                geometry: Geometry::Points,
                scan: 0,
                earth: SPHERE,
                keys: vec![("gridDefinition", s.u8(7)?.into())],
            })
        })?,
    };

    let century = i64::from(s.u8(25)?);
    let year = (century - 1) * 100 + i64::from(s.u8(13)?);
    let octet = |at| s.u8(at).map(i64::from);
    let time = seconds_since_1970(year, octet(14)?, octet(15)?, octet(16)?, octet(17)?, 0);
    let Some(unit) = unit_seconds(s.u8(18)?, 1) else {
        return unsupported(format!("unit of time {} of edition 1", s.u8(18)?));
    };
    let (p1, p2) = (octet(19)?, octet(20)?);
    let (start, end, step_type) = match s.u8(21)? {
        0 => (p1, p1, "instant".into()),
        1 => (0, 0, "instant".into()),
        2 => (p1, p2, "range".into()),
        3 => (p1, p2, "avg".into()),
        4 => (p1, p2, "accum".into()),
        5 => (p1, p2, "diff".into()),
        10 => (p1 << 8 | p2, p1 << 8 | p2, "instant".into()),
        indicator => (p1, p1, format!("range{indicator}")),
    };

    let centre = u16::from(s.u8(5)?);
    let mut field = Field {
        message: message.number,
        offset: message.at,
        edition: 1,
        centre,
        sub_centre: s.u8(26)?.into(),
        parameter: Parameter::Edition1(s.u8(4)?, s.u8(9)?),
        level: Level::from_section1(&s)?,
        time,
        step: end * unit,
        step_start: start * unit,
        step_type,
        number: None,
        kind: Vec::new(),
        data_type: None,
        grid,
        packing,
        data: Span { at: message.at + data_at + 11, len: len - 11 },
        bitmap,
    };
    if centre == ECMWF && s.len() >= 51 && matches!(s.u8(41)?, 1 | 30 | 36) {
        let data_type = s.u8(43)?;
        field.data_type = Some(data_type);
        // 10 and 11 are the control and the perturbed forecasts of one ensemble; 0 of 0 is no ensemble.
        let is_member = s.u8(50)? != 0 || s.u8(51)? != 0 || matches!(data_type, 10 | 11);
        field.number = if is_member { Some(octet(50)?) } else { None };
        field.kind.push(("marsType", f64::from(if data_type == 10 { 11 } else { data_type })));
        field.kind.push(("marsStream", f64::from(s.u16(44)?)));
    }
    Ok(field)
}

/// The Earth of edition 1 where flag 0x40 is not set.
const SPHERE: Earth = Earth { major: 6_367_470.0, minor: 6_367_470.0 };
const IAU_1965: Earth = Earth { major: 6_378_160.0, minor: 6_378_160.0 * (1.0 - 1.0 / 297.0) };

fn parse_grid(bytes: &[u8]) -> Parse<Grid> {
    let s = Octets::new(2, bytes);
    let kind = s.u8(6)?;
    let angle = |at| s.int(at, 3).map(|v| v as f64 / 1000.0);
    let count = |at| s.u16(at).map(usize::from);
    let spectral = (50..=80).contains(&kind);
    let (flags, scan) = if spectral { (0, 0) } else { (s.u8(17)?, s.u8(28)?) };
    let earth = if flags & 0x40 != 0 { IAU_1965 } else { SPHERE };
    let (ni, nj) = (count(7)?, count(9)?);
    let first = (angle(11)?, angle(14)?);
    let mut keys =
        vec![("latitudeOfFirstGridPointInDegrees", first.0), ("longitudeOfFirstGridPointInDegrees", first.1)];
    let (name, shape, geometry) = match kind {
        0 | 4 | 10 | 14 => {
            let last = (angle(18)?, angle(21)?);
            let gaussian = matches!(kind, 4 | 14);
            keys.extend([("latitudeOfLastGridPointInDegrees", last.0), ("longitudeOfLastGridPointInDegrees", last.1)]);
            if flags & 0x80 != 0 {
                keys.push(("iDirectionIncrementInDegrees", s.u16(24)? as f64 / 1000.0));
            }
            if gaussian {
                keys.push(("N", s.u16(26)?.into()));
            } else if flags & 0x80 != 0 {
                keys.push(("jDirectionIncrementInDegrees", s.u16(26)? as f64 / 1000.0));
            }
            let rows = if ni == 0xffff {
                let list = usize::from(s.u8(5)?) + 4 * usize::from(s.u8(4)?);
                Some(row_lengths(&s, list, 2, nj)?)
            } else {
                None
            };
            let rotation = if matches!(kind, 10 | 14) { Some(((angle(33)?, angle(36)?), s.ibm(39)?)) } else { None };
            LatLon {
                ni,
                nj,
                first,
                last,
                scan,
                gaussian: if gaussian { Some(count(26)?) } else { None },
                rows,
                rotation,
            }
            .build()?
        }
        1 | 3 | 5 => {
            let metres = |at: usize| s.uint(at, 3).map(|v| v as f64);
            let (name, projection, steps) = match kind {
                1 => ("mercator", Projection::Mercator { true_scale: angle(24)? }, (metres(29)?, metres(32)?)),
                3 => (
                    "lambert",
                    Projection::Lambert { parallels: [angle(29)?, angle(32)?], meridian: angle(18)? },
                    (metres(21)?, metres(24)?),
                ),
                // Edition 1 fixes the true scale at 60 degrees.
                _ => (
                    "polar_stereographic",
                    Projection::Stereographic { true_scale: 60.0, meridian: angle(18)?, south: s.u8(27)? & 0x80 != 0 },
                    (metres(21)?, metres(24)?),
                ),
            };
            keys.extend([("DxInMetres", steps.0), ("DyInMetres", steps.1)]);
            (name, vec![nj, ni], projected(projection, earth, (ni, nj), first, steps, scan))
        }
        _ if spectral => {
            let truncation = count(7)?;
            ("sh", vec![(truncation + 1) * (truncation + 2)], Geometry::Points)
        }
        90 => ("space_view", vec![nj, ni], Geometry::Plane),
        _ => return unsupported(format!("grid type {kind} of edition 1")),
    };
    Ok(Grid { name, shape, geometry, scan, earth, keys })
}
