//! Kinds of level, under the names that eccodes gives them.

use super::octets::{Octets, Parse};

/// Where a field lies in the vertical.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Level {
    /// `isobaricInhPa`, `surface`, ...
    pub(super) name: String,
    /// Units of the values; empty for levels without a value.
    pub(super) units: &'static str,
    /// The level, or a layer's first boundary.
    pub(super) first: f64,
    /// A layer's second boundary.
    pub(super) second: Option<f64>,
    /// The numbers in the message: types of the first and second fixed surface, or indicator of type of level and 255.
    pub(super) types: (u8, u8),
}

/// A kind of fixed surface of edition 2 (code table 4.5 and NCEP's own from 192 on).
struct Surface {
    code: u8,
    name: &'static str,
    /// Its name when a layer lies between two of them.
    layer: &'static str,
    units: &'static str,
    /// What the stored value is divided by to give `units`.
    per_unit: f64,
}

const fn surface(code: u8, name: &'static str, layer: &'static str, units: &'static str, per_unit: f64) -> Surface {
    Surface { code, name, layer, units, per_unit }
}

#[rustfmt::skip]
const SURFACES: &[Surface] = &[
    surface(1, "surface", "surface", "", 1.0),
    surface(2, "cloudBase", "cloudBase", "", 1.0),
    surface(3, "cloudTop", "cloudTop", "", 1.0),
    surface(4, "isothermZero", "isothermZero", "", 1.0),
    surface(5, "adiabaticCondensation", "adiabaticCondensation", "", 1.0),
    surface(6, "maxWind", "maxWind", "", 1.0),
    surface(7, "tropopause", "tropopause", "", 1.0),
    surface(8, "nominalTop", "nominalTop", "", 1.0),
    surface(9, "seaBottom", "seaBottom", "", 1.0),
    surface(10, "atmosphere", "atmosphere", "", 1.0),
    surface(11, "cumulonimbusBase", "cumulonimbusBase", "", 1.0),
    surface(12, "cumulonimbusTop", "cumulonimbusTop", "", 1.0),
    surface(14, "freeConvection", "freeConvection", "", 1.0),
    surface(17, "departureLevel", "departureLevel", "", 1.0),
    surface(20, "isothermal", "isothermal", "K", 1.0),
    surface(100, "isobaricInhPa", "isobaricLayer", "hPa", 100.0),
    surface(101, "meanSea", "meanSea", "", 1.0),
    surface(102, "heightAboveSea", "heightAboveSeaLayer", "m", 1.0),
    surface(103, "heightAboveGround", "heightAboveGroundLayer", "m", 1.0),
    surface(104, "sigma", "sigmaLayer", "1", 1.0),
    surface(105, "hybrid", "hybridLayer", "1", 1.0),
    surface(106, "depthBelowLand", "depthBelowLandLayer", "m", 1.0),
    surface(107, "theta", "thetaLayer", "K", 1.0),
    surface(108, "pressureFromGround", "pressureFromGroundLayer", "Pa", 1.0),
    surface(109, "potentialVorticity", "potentialVorticityLayer", "K m2 kg-1 s-1", 1.0),
    surface(111, "eta", "etaLayer", "1", 1.0),
    surface(113, "logHybrid", "logHybridLayer", "1", 1.0),
    surface(114, "snow", "snowLayer", "1", 1.0),
    surface(117, "mixedLayerDepth", "mixedLayer", "m", 1.0),
    surface(118, "hybridHeight", "hybridHeightLayer", "1", 1.0),
    surface(119, "hybridPressure", "hybridPressureLayer", "1", 1.0),
    surface(150, "generalVertical", "generalVerticalLayer", "1", 1.0),
    surface(151, "soil", "soilLayer", "1", 1.0),
    surface(152, "seaIce", "seaIceLayer", "1", 1.0),
    surface(160, "depthBelowSea", "depthBelowSeaLayer", "m", 1.0),
    surface(161, "depthBelowWaterSurface", "depthBelowWaterSurfaceLayer", "m", 1.0),
    surface(162, "lakeBottom", "lakeBottom", "", 1.0),
    surface(166, "mixingLayer", "mixingLayer", "", 1.0),
    surface(168, "oceanModel", "oceanModelLayer", "1", 1.0),
    surface(169, "oceanSurfaceToDensity", "oceanSurfaceToDensity", "kg m-3", 1.0),
    surface(174, "iceTopOnWater", "iceTopOnWater", "", 1.0),
    surface(177, "rootZone", "rootZone", "", 1.0),
    surface(200, "atmosphereSingleLayer", "atmosphereSingleLayer", "", 1.0),
    surface(201, "oceanSingleLayer", "oceanSingleLayer", "", 1.0),
    surface(204, "highestTroposphericFreezing", "highestTroposphericFreezing", "", 1.0),
    surface(211, "boundaryLayerCloudLayer", "boundaryLayerCloudLayer", "", 1.0),
    surface(212, "lowCloudBottom", "lowCloudBottom", "", 1.0),
    surface(213, "lowCloudTop", "lowCloudTop", "", 1.0),
    surface(214, "lowCloudLayer", "lowCloudLayer", "", 1.0),
    surface(215, "cloudCeiling", "cloudCeiling", "", 1.0),
    surface(220, "planetaryBoundaryLayer", "planetaryBoundaryLayer", "", 1.0),
    surface(222, "middleCloudBottom", "middleCloudBottom", "", 1.0),
    surface(223, "middleCloudTop", "middleCloudTop", "", 1.0),
    surface(224, "middleCloudLayer", "middleCloudLayer", "", 1.0),
    surface(232, "highCloudBottom", "highCloudBottom", "", 1.0),
    surface(233, "highCloudTop", "highCloudTop", "", 1.0),
    surface(234, "highCloudLayer", "highCloudLayer", "", 1.0),
    surface(242, "convectiveCloudBottom", "convectiveCloudBottom", "", 1.0),
    surface(243, "convectiveCloudTop", "convectiveCloudTop", "", 1.0),
    surface(244, "convectiveCloudLayer", "convectiveCloudLayer", "", 1.0),
];

impl Level {
    /// Of a product that says nothing about the vertical.
    pub(super) fn none() -> Self {
        Self { name: "unknown".into(), units: "", first: 0.0, second: None, types: (255, 255) }
    }

    /// Two fixed surfaces of edition 2: type, scale factor and value, twice, from octet `at` on.
    pub(super) fn from_surfaces(s: &Octets<'_>, at: usize) -> Parse<Self> {
        let types = (s.u8(at)?, s.u8(at + 6)?);
        let (first, second) = (s.scaled(at + 1)?, s.scaled(at + 7)?);
        let find = |code| SURFACES.iter().find(|s| s.code == code);
        let known = find(types.0);
        let is_layer = types.1 != 255 && types.1 == types.0;
        let per_unit = known.map_or(1.0, |k| k.per_unit);
        let name = match (known, is_layer) {
            (Some(k), true) => k.layer.into(),
            (Some(k), false) if types.1 == 255 || types.0 == 1 && types.1 == 8 => {
                if types.1 == 8 {
                    "atmosphere".into()
                } else {
                    k.name.into()
                }
            }
            // Between surfaces of different kinds.
            _ => {
                let text = |code| find(code).map_or_else(|| format!("level{code}"), |k: &Surface| k.name.to_owned());
                if types.1 == 255 { text(types.0) } else { format!("{}_{}", text(types.0), text(types.1)) }
            }
        };
        let units = known.map_or("1", |k| k.units);
        // Of a level without a value, what the file stores there means nothing.
        let first = if units.is_empty() || first.is_nan() { 0.0 } else { first / per_unit };
        let second = (types.1 != 255 && !second.is_nan() && !units.is_empty())
            .then(|| second / find(types.1).map_or(1.0, |k| k.per_unit));
        Ok(Self { name, units, first, second, types })
    }

    /// Edition 1: octets 10 to 12 of section 1.
    pub(super) fn from_section1(s: &Octets<'_>) -> Parse<Self> {
        let code = s.u8(10)?;
        let both = f64::from(s.u16(11)?);
        let (top, bottom) = (f64::from(s.u8(11)?), f64::from(s.u8(12)?));
        let (name, units, first, second) = match code {
            20 => ("isothermal", "K", both / 100.0, None),
            100 => ("isobaricInhPa", "hPa", both, None),
            101 => ("isobaricLayer", "hPa", top * 10.0, Some(bottom * 10.0)),
            103 => ("heightAboveSea", "m", both, None),
            104 => ("heightAboveSeaLayer", "m", top * 100.0, Some(bottom * 100.0)),
            105 => ("heightAboveGround", "m", both, None),
            106 => ("heightAboveGroundLayer", "m", top * 100.0, Some(bottom * 100.0)),
            107 => ("sigma", "1", both / 10_000.0, None),
            108 => ("sigmaLayer", "1", top / 100.0, Some(bottom / 100.0)),
            109 => ("hybrid", "1", both, None),
            110 => ("hybridLayer", "1", top, Some(bottom)),
            111 => ("depthBelowLand", "m", both / 100.0, None),
            112 => ("depthBelowLandLayer", "m", top / 100.0, Some(bottom / 100.0)),
            113 => ("theta", "K", both, None),
            114 => ("thetaLayer", "K", 475.0 - top, Some(475.0 - bottom)),
            115 => ("pressureFromGround", "Pa", both * 100.0, None),
            116 => ("pressureFromGroundLayer", "Pa", top * 100.0, Some(bottom * 100.0)),
            117 => ("potentialVorticity", "1e-9 K m2 kg-1 s-1", both, None),
            119 => ("eta", "1", both / 10_000.0, None),
            125 => ("heightAboveGround", "m", both / 100.0, None),
            160 => ("depthBelowSea", "m", both, None),
            210 => ("isobaricInhPa", "hPa", both / 100.0, None),
            102 => ("meanSea", "", 0.0, None),
            1..=9 | 200 | 201 | 204 | 211..=244 => {
                let known = SURFACES.iter().find(|s| s.code == code && s.units.is_empty());
                (known.map_or("", |k| k.name), "", 0.0, None)
            }
            _ => ("", "1", both, None),
        };
        let name = if name.is_empty() { format!("level{code}") } else { name.to_owned() };
        Ok(Self { name, units, first, second, types: (code, 255) })
    }

    /// Whether the level has a value at all.
    pub(super) fn has_value(&self) -> bool {
        !self.units.is_empty()
    }

    /// CF's `positive`, where the axis has a direction.
    pub(super) fn positive(&self) -> Option<&'static str> {
        let starts = |list: &[&str]| list.iter().any(|p| self.name.starts_with(p));
        if starts(&["isobaric", "depth", "sigma", "hybrid", "pressureFromGround", "snow", "soil", "mixedLayerDepth"]) {
            Some("down")
        } else if starts(&["height", "theta"]) {
            Some("up")
        } else {
            None
        }
    }

    /// CF's standard name, where there is one.
    pub(super) fn standard_name(&self) -> Option<&'static str> {
        Some(match self.name.as_str() {
            "isobaricInhPa" | "isobaricLayer" => "air_pressure",
            "heightAboveGround" | "heightAboveGroundLayer" => "height",
            "heightAboveSea" | "heightAboveSeaLayer" => "altitude",
            "depthBelowLand" | "depthBelowLandLayer" | "depthBelowSea" | "depthBelowSeaLayer" => "depth",
            "sigma" => "atmosphere_sigma_coordinate",
            "theta" => "air_potential_temperature",
            _ => return None,
        })
    }
}
