//! GeoKeys: the coordinate reference system as GeoTIFF says it.
//!
//! # On the wire
//! `u16[4 (n + 1)]`: version, revision, minor revision, n; then n keys `(id, tag, count, value)`: the value itself where tag is 0, else
//! an index into the doubles (34736) or the texts (34737).
//! # Reference
//! OGC 19-008r4, GeoTIFF 1.1; EPSG's definitions in WKT from the crate `crs-definitions`

const MODEL_TYPE: u16 = 1024;
const RASTER_TYPE: u16 = 1025;
const GEOGRAPHIC: u16 = 2048;
const PROJECTED: u16 = 3072;
const PROJECTED_CITATION: u16 = 3073;
const LINEAR_UNITS: u16 = 3076;
const PIXEL_IS_POINT: u16 = 2;
/// What ESRI's programs put before a definition in place of a code.
const ESRI: &str = "ESRI PE String = ";

/// The keys of a file.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Keys {
    pub(super) directory: Vec<u16>,
    pub(super) ascii: String,
}

impl Keys {
    fn key(&self, id: u16) -> Option<&[u16]> {
        self.directory.chunks_exact(4).skip(1).find(|k| k[0] == id)
    }

    fn short(&self, id: u16) -> Option<u16> {
        self.key(id).filter(|k| k[1] == 0).map(|k| k[3])
    }

    fn text(&self, id: u16) -> Option<&str> {
        let k = self.key(id).filter(|k| k[1] == super::tags::GEO_ASCII)?;
        let start = usize::from(k[3]);
        self.ascii.get(start..start + usize::from(k[2])).map(|t| t.trim_end_matches('|'))
    }

    /// Coordinates are degrees.
    pub(super) fn is_geographic(&self) -> bool {
        self.short(MODEL_TYPE) == Some(2)
    }

    /// Tie points are centres of cells, not corners.
    pub(super) fn is_point(&self) -> bool {
        self.short(RASTER_TYPE) == Some(PIXEL_IS_POINT)
    }

    /// EPSG's code; 32767 is "defined by other keys".
    fn code(&self) -> Option<u16> {
        let key = if self.is_geographic() { GEOGRAPHIC } else { PROJECTED };
        self.short(key).filter(|c| (1024..32767).contains(c))
    }

    /// A definition in WKT, where the keys hold one or a code whose definition is known.
    pub(super) fn wkt(&self) -> Option<String> {
        match self.code() {
            Some(code) => crs_definitions::from_code(code).map(|d| d.wkt.into()),
            None => self.text(PROJECTED_CITATION).and_then(|t| t.strip_prefix(ESRI)).map(String::from),
        }
    }

    /// UDUNITS name of what eastings and northings are counted in.
    pub(super) fn linear_units(&self) -> Option<&'static str> {
        // The last unit in a definition is the projection's own.
        let defined =
            || self.wkt().is_some_and(|w| w.rfind("UNIT[").is_some_and(|at| w[at..].starts_with("UNIT[\"metre\"")));
        let unit = self.short(LINEAR_UNITS).unwrap_or_else(|| if defined() { 9001 } else { 0 });
        match unit {
            9001 => Some("metre"),
            9002 => Some("foot"),
            9003 => Some("US_survey_foot"),
            _ => None,
        }
    }

    /// Keys that name the EPSG code which a definition ends with; `None` if it ends with none.
    pub(super) fn from_wkt(wkt: &str) -> Option<Self> {
        let text = wkt.trim_end().trim_end_matches([']', ')']);
        let (head, code) = text.rsplit_once(',')?;
        let authority = head.rsplit(['[', '(']).next()?;
        let code: u16 = code.trim().trim_matches('"').parse().ok()?;
        // Of the whole, not of its last part: nothing but this one bracket is open besides the outermost.
        let closing = wkt.trim_end().len() - text.len();
        if authority.trim().trim_matches('"') != "EPSG" || closing != 2 {
            return None;
        }
        let (model, key) = match wkt.trim_start().split(['[', '(']).next()? {
            "PROJCS" | "PROJCRS" | "PROJECTEDCRS" => (1, PROJECTED),
            "GEOGCS" | "GEOGCRS" | "GEODCRS" | "GEOGRAPHICCRS" | "GEODETICCRS" => (2, GEOGRAPHIC),
            _ => return None,
        };
        let directory = vec![1, 1, 0, 3, MODEL_TYPE, 0, 1, model, RASTER_TYPE, 0, 1, 1, key, 0, 1, code];
        Some(Self { directory, ascii: String::new() })
    }
}
