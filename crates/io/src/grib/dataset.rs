//! Cubes of fields to variables with dimensions, coordinates and attributes.
//!
//! # Shapes
//! `[number, time, step, level, latitude, longitude]`, as far as each varies; `[.., y, x]` and `[.., values]` for other grids.
//! What does not vary is a scalar coordinate.

use std::collections::{BTreeSet, HashMap};

use lithify_codec::{Dtype, Samples};

use super::cube::{self, AXES, Cube, LEVEL, NUMBER, STEP, TIME};
use super::field::{Field, Parameter};
use super::grid::{Axis, Geometry, Grid};
use super::scan::Index;
use crate::model::{Attribute, DataType, Dimension, Group, Variable};

/// Where a variable's values come from.
#[derive(Debug)]
pub(super) enum Content {
    /// Fields, in C order over the dimensions before the grid's.
    Fields(Vec<Option<usize>>),
    /// Kept in memory.
    Stored(Samples),
    /// Along one dimension of a grid.
    Along(Axis),
    /// Of every point of a grid, by index.
    Latitude(usize),
    /// Of every point of a grid, by index.
    Longitude(usize),
}

/// Everything but the values of the fields.
#[derive(Debug, Default)]
pub(super) struct Dataset {
    pub(super) root: Group,
    pub(super) contents: HashMap<String, Content>,
    pub(super) warnings: Vec<String>,
    /// Names taken by variables and dimensions.
    used: BTreeSet<String>,
    /// Coordinates by what they hold.
    known: HashMap<String, String>,
    /// By grid: dimensions, further coordinates, grid mapping.
    grids: HashMap<usize, GridNames>,
}

#[derive(Debug, Clone, Default)]
struct GridNames {
    dims: Vec<String>,
    coordinates: Vec<String>,
    mapping: Option<String>,
}

const AXIS_NAMES: [&str; AXES - 1] = ["number", "time", "step"];

/// Lays out a file.
pub(super) fn dataset(index: &Index) -> Dataset {
    let mut d = Dataset { warnings: index.warnings.clone(), ..Dataset::default() };
    let cubes = cube::cubes(&index.fields);
    d.used.extend(cubes.iter().map(|c| c.variable.clone()));
    let variables: Vec<_> = cubes.into_iter().map(|c| d.variable(index, c)).collect();
    d.root.variables.extend(variables);
    let mut grids: Vec<_> = d.grids.keys().copied().collect();
    grids.sort_unstable();
    for grid in grids.into_iter().filter_map(|g| index.grids.all.get(g)) {
        if matches!(grid.geometry, Geometry::Plane | Geometry::Points) {
            d.warnings.push(format!("no coordinates are computed for grids of type {}", grid.name));
        }
    }
    d.root.attrs = global_attributes(&index.fields);
    d
}

fn global_attributes(fields: &[Field]) -> Vec<Attribute> {
    let distinct = |get: fn(&Field) -> u16| {
        let all: BTreeSet<_> = fields.iter().map(get).collect();
        all.into_iter().map(i32::from).collect::<Vec<_>>()
    };
    vec![
        Attribute::text("Conventions", "CF-1.7"),
        Attribute::numbers("GRIB_edition", Samples::I32(distinct(|f| f.edition.into()))),
        Attribute::numbers("GRIB_centre", Samples::I32(distinct(|f| f.centre))),
        Attribute::numbers("GRIB_subCentre", Samples::I32(distinct(|f| f.sub_centre))),
        Attribute::text("source", format!("{} GRIB messages", fields.last().map_or(0, |f| f.message))),
    ]
}

impl Dataset {
    fn variable(&mut self, index: &Index, cube: Cube) -> Variable {
        let fields = &index.fields;
        let sample = cube.sample(fields);
        let (mut dims, mut shape, mut coordinates) = (Vec::new(), Vec::new(), Vec::new());
        for axis in 0..AXES {
            let along = &cube.axes[axis];
            let Some(name) = self.coordinate(fields, axis, along) else { continue };
            if along.len() > 1 {
                dims.push(name);
                shape.push(along.len());
            } else {
                coordinates.push(name);
            }
        }
        coordinates.extend(self.valid_time(fields, &cube));
        let mut chunks = vec![1; dims.len()];
        let names = self.grid(index, sample.grid);
        let grid_shape = index.grids.all.get(sample.grid).map(|g| g.shape.clone()).unwrap_or_default();
        dims.extend(names.dims);
        shape.extend(&grid_shape);
        chunks.extend(&grid_shape);
        coordinates.extend(names.coordinates);

        let missing = cube.slots.iter().filter(|s| s.is_none()).count();
        if missing > 0 {
            self.warnings.push(format!(
                "{}: {missing} of its {} fields are not in the file and read as missing values",
                cube.variable,
                cube.slots.len()
            ));
        }
        let wide = cube.present().any(|i| fields[i].packing.needs_f64());
        let dtype = if wide { Dtype::F64 } else { Dtype::F32 };
        let mut attrs = vec![Attribute::numbers(
            "_FillValue",
            if wide { Samples::F64(vec![f64::NAN]) } else { Samples::F32(vec![f32::NAN]) },
        )];
        let known =
            [("standard_name", &cube.name.standard), ("long_name", &cube.name.long), ("units", &cube.name.units)];
        attrs.extend(known.iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| Attribute::text(*k, v.as_str())));
        if !coordinates.is_empty() {
            attrs.push(Attribute::text("coordinates", coordinates.join(" ")));
        }
        attrs.extend(names.mapping.map(|m| Attribute::text("grid_mapping", m)));
        attrs.extend(message_attributes(fields, &cube));
        attrs.extend(index.grids.all.get(sample.grid).map(grid_attributes).unwrap_or_default());

        self.contents.insert(cube.variable.clone(), Content::Fields(cube.slots));
        Variable { name: cube.variable, dims, shape, data_type: DataType::Number(dtype), attrs, chunks: Some(chunks) }
    }

    /// The coordinate with the values that the fields `along` have on an axis; none where they have no value.
    fn coordinate(&mut self, fields: &[Field], axis: usize, along: &[usize]) -> Option<String> {
        let of: Vec<&Field> = along.iter().map(|&i| &fields[i]).collect();
        let first = of.first()?;
        if axis == LEVEL {
            return self.level(&of);
        }
        if axis == NUMBER && along.len() == 1 && first.number.is_none() {
            return None;
        }
        let (values, attrs) = match axis {
            NUMBER => {
                let attrs = vec![
                    Attribute::text("standard_name", "realization"),
                    Attribute::text("long_name", "ensemble member"),
                    Attribute::text("units", "1"),
                ];
                (Samples::I64(of.iter().map(|f| f.number.unwrap_or(-1)).collect()), attrs)
            }
            TIME => (
                Samples::I64(of.iter().map(|f| f.time).collect()),
                time_attributes("forecast_reference_time", "reference time"),
            ),
            _ => {
                let attrs = vec![
                    Attribute::text("standard_name", "forecast_period"),
                    Attribute::text("long_name", "time since the reference time"),
                    Attribute::text("units", "hours"),
                ];
                (Samples::F64(of.iter().map(|f| f.step as f64 / 3600.0).collect()), attrs)
            }
        };
        Some(self.stored(AXIS_NAMES[axis], along.len() > 1, values, attrs))
    }

    fn level(&mut self, of: &[&Field]) -> Option<String> {
        let level = &of.first()?.level;
        if of.len() == 1 && !level.has_value() {
            return None;
        }
        let mut attrs = vec![Attribute::text("long_name", level.name.clone())];
        attrs.extend(level.standard_name().map(|n| Attribute::text("standard_name", n)));
        attrs.push(Attribute::text("units", if level.units.is_empty() { "1" } else { level.units }));
        attrs.extend(level.positive().map(|p| Attribute::text("positive", p)));
        let firsts: Vec<f64> = of.iter().map(|f| f.level.first).collect();
        if of.iter().all(|f| f.level.second.is_none()) {
            return Some(self.stored(&level.name, of.len() > 1, Samples::F64(firsts), attrs));
        }
        // A layer's coordinate is its first boundary, as in cfgrib; CF bounds hold both.
        let both: Vec<f64> = of.iter().flat_map(|f| [f.level.first, f.level.second.unwrap_or(f64::NAN)]).collect();
        let key = format!("{} {both:?} {}", level.name, of.len() > 1);
        if let Some(known) = self.known.get(&key) {
            return Some(known.clone());
        }
        let bounds = cube::unique(&mut self.used, &format!("{}_bounds", level.name));
        attrs.push(Attribute::text("bounds", bounds.clone()));
        let name = self.new_coordinate(&level.name, of.len() > 1, Samples::F64(firsts), attrs);
        let pair = self.dimension("bounds 2", "bounds", 2);
        let (dims, shape) =
            if of.len() > 1 { (vec![name.clone(), pair], vec![of.len(), 2]) } else { (vec![pair], vec![2]) };
        self.root.variables.push(Variable {
            name: bounds.clone(),
            dims,
            shape,
            data_type: DataType::Number(Dtype::F64),
            attrs: Vec::new(),
            chunks: None,
        });
        self.contents.insert(bounds, Content::Stored(Samples::F64(both)));
        self.known.insert(key, name.clone());
        Some(name)
    }

    /// Reference time plus step, where one of them is single.
    fn valid_time(&mut self, fields: &[Field], cube: &Cube) -> Option<String> {
        let (times, steps) = (&cube.axes[TIME], &cube.axes[STEP]);
        let (time, step) = (fields[*times.first()?].time, fields[*steps.first()?].step);
        let (values, dim): (Vec<i64>, _) = match (times.len(), steps.len()) {
            (1, 1) => (vec![time + step], None),
            (_, 1) => (times.iter().map(|&i| fields[i].time + step).collect(), self.coordinate(fields, TIME, times)),
            (1, _) => (steps.iter().map(|&i| time + fields[i].step).collect(), self.coordinate(fields, STEP, steps)),
            _ => return None,
        };
        let key = format!("valid_time {values:?} {dim:?}");
        if let Some(known) = self.known.get(&key) {
            return Some(known.clone());
        }
        let name = cube::unique(&mut self.used, "valid_time");
        let shape = dim.iter().map(|_| values.len()).collect();
        self.push(
            &name,
            dim.into_iter().collect(),
            shape,
            time_attributes("time", "valid time"),
            Content::Stored(Samples::I64(values)),
        );
        self.known.insert(key, name.clone());
        Some(name)
    }

    /// A coordinate held in memory, once for all variables that have the same.
    fn stored(&mut self, base: &str, is_dim: bool, values: Samples, attrs: Vec<Attribute>) -> String {
        let key = format!("{base} {values:?} {is_dim}");
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let name = self.new_coordinate(base, is_dim, values, attrs);
        self.known.insert(key, name.clone());
        name
    }

    fn new_coordinate(&mut self, base: &str, is_dim: bool, values: Samples, attrs: Vec<Attribute>) -> String {
        let name = cube::unique(&mut self.used, base);
        let n = values.len();
        let (dims, shape) = if is_dim { (vec![name.clone()], vec![n]) } else { (Vec::new(), Vec::new()) };
        if is_dim {
            self.root.dims.push(Dimension { name: name.clone(), len: n, unlimited: false });
        }
        self.push(&name, dims, shape, attrs, Content::Stored(values));
        name
    }

    fn push(&mut self, name: &str, dims: Vec<String>, shape: Vec<usize>, attrs: Vec<Attribute>, content: Content) {
        let dtype = match &content {
            Content::Stored(values) => values.dtype(),
            _ => Dtype::F64,
        };
        let data_type = DataType::Number(dtype);
        self.root.variables.push(Variable { name: name.into(), dims, shape, data_type, attrs, chunks: None });
        self.contents.insert(name.into(), content);
    }

    /// A dimension without a coordinate of its name.
    fn dimension(&mut self, key: &str, base: &str, len: usize) -> String {
        if let Some(known) = self.known.get(key) {
            return known.clone();
        }
        let name = cube::unique(&mut self.used, base);
        self.root.dims.push(Dimension { name: name.clone(), len, unlimited: false });
        self.known.insert(key.into(), name.clone());
        name
    }

    /// A coordinate along a grid's dimension.
    fn along(&mut self, base: &str, axis: &Axis, len: usize, attrs: Vec<Attribute>) -> String {
        let key = format!("{base} {}", axis.fingerprint());
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let name = self.dimension(&key, base, len);
        self.push(&name, vec![name.clone()], vec![len], attrs, Content::Along(axis.clone()));
        name
    }

    /// Dimensions, coordinates and mapping of a grid, made when first asked for.
    fn grid(&mut self, index: &Index, at: usize) -> GridNames {
        if let Some(known) = self.grids.get(&at) {
            return known.clone();
        }
        let Some(grid) = index.grids.all.get(at) else { return GridNames::default() };
        let mut names = GridNames::default();
        let sizes = (grid.shape.first().copied().unwrap_or(0), grid.shape.last().copied().unwrap_or(0));
        match &grid.geometry {
            Geometry::Rectilinear { lat, lon } => {
                names.dims = vec![
                    self.along("latitude", lat, sizes.0, degrees("latitude", "degrees_north")),
                    self.along("longitude", lon, sizes.1, degrees("longitude", "degrees_east")),
                ];
            }
            Geometry::Rotated { lat, lon, .. } => {
                names.dims = vec![
                    self.along("y", lat, sizes.0, degrees("grid_latitude", "degrees")),
                    self.along("x", lon, sizes.1, degrees("grid_longitude", "degrees")),
                ];
            }
            Geometry::Projected { x, y, .. } => {
                names.dims = vec![
                    self.along("y", y, sizes.0, degrees("projection_y_coordinate", "m")),
                    self.along("x", x, sizes.1, degrees("projection_x_coordinate", "m")),
                ];
            }
            Geometry::Plane => {
                let name = |axis| format!("{axis} of grid {at}");
                names.dims = vec![self.dimension(&name("y"), "y", sizes.0), self.dimension(&name("x"), "x", sizes.1)];
            }
            Geometry::Reduced { .. } | Geometry::Points => {
                names.dims = vec![self.dimension(&format!("values of grid {at}"), "values", sizes.0)];
            }
        }
        if matches!(grid.geometry, Geometry::Rotated { .. } | Geometry::Projected { .. } | Geometry::Reduced { .. }) {
            for (base, units, content) in [
                ("latitude", "degrees_north", Content::Latitude(at)),
                ("longitude", "degrees_east", Content::Longitude(at)),
            ] {
                let name = cube::unique(&mut self.used, base);
                self.push(&name, names.dims.clone(), grid.shape.clone(), degrees(base, units), content);
                names.coordinates.push(name);
            }
        }
        if let Some(attrs) = grid.mapping() {
            let name = cube::unique(&mut self.used, "crs");
            self.push(&name, Vec::new(), Vec::new(), attrs, Content::Stored(Samples::I32(vec![0])));
            names.mapping = Some(name);
        }
        self.grids.insert(at, names.clone());
        names
    }
}

fn degrees(standard: &str, units: &str) -> Vec<Attribute> {
    vec![
        Attribute::text("standard_name", standard),
        Attribute::text("long_name", standard.replace('_', " ")),
        Attribute::text("units", units),
    ]
}

fn time_attributes(standard: &str, long: &str) -> Vec<Attribute> {
    vec![
        Attribute::text("standard_name", standard),
        Attribute::text("long_name", long),
        Attribute::text("units", "seconds since 1970-01-01"),
        Attribute::text("calendar", "proleptic_gregorian"),
    ]
}

fn grid_attributes(grid: &Grid) -> Vec<Attribute> {
    let mut attrs = vec![
        Attribute::text("GRIB_gridType", grid.name),
        Attribute::numbers("GRIB_numberOfPoints", Samples::I64(vec![grid.n_points() as i64])),
    ];
    if let &[nj, ni] = grid.shape.as_slice() {
        attrs.push(Attribute::numbers("GRIB_Ni", Samples::I64(vec![ni as i64])));
        attrs.push(Attribute::numbers("GRIB_Nj", Samples::I64(vec![nj as i64])));
    }
    attrs.extend(grid.keys.iter().map(|(k, v)| Attribute::numbers(format!("GRIB_{k}"), Samples::F64(vec![*v]))));
    attrs.push(Attribute::numbers("GRIB_scanningMode", Samples::I32(vec![grid.scan.into()])));
    if grid.earth.major.is_finite() {
        attrs.push(Attribute::numbers("GRIB_earthMajorAxisInMetres", Samples::F64(vec![grid.earth.major])));
        attrs.push(Attribute::numbers("GRIB_earthMinorAxisInMetres", Samples::F64(vec![grid.earth.minor])));
    }
    attrs
}

fn message_attributes(fields: &[Field], cube: &Cube) -> Vec<Attribute> {
    let sample = cube.sample(fields);
    let whole = |name: &str, v: i64| Attribute::numbers(format!("GRIB_{name}"), Samples::I64(vec![v]));
    let mut attrs = vec![
        whole("edition", sample.edition.into()),
        whole("centre", sample.centre.into()),
        whole("subCentre", sample.sub_centre.into()),
    ];
    match sample.parameter {
        Parameter::Edition2(d, c, n) => attrs.extend([
            whole("discipline", d.into()),
            whole("parameterCategory", c.into()),
            whole("parameterNumber", n.into()),
            whole("typeOfFirstFixedSurface", sample.level.types.0.into()),
            whole("typeOfSecondFixedSurface", sample.level.types.1.into()),
        ]),
        Parameter::Edition1(t, n) => attrs.extend([
            whole("table2Version", t.into()),
            whole("indicatorOfParameter", n.into()),
            whole("indicatorOfTypeOfLevel", sample.level.types.0.into()),
        ]),
    }
    attrs.push(Attribute::text("GRIB_typeOfLevel", sample.level.name.clone()));
    attrs.push(Attribute::text("GRIB_stepType", sample.step_type.clone()));
    attrs.extend(sample.kind.iter().map(|(k, v)| Attribute::numbers(format!("GRIB_{k}"), Samples::F64(vec![*v]))));

    // Keys that may differ from field to field: the value, or the range as text.
    let mut range = |name: &str, of: &dyn Fn(&Field) -> Option<i64>| {
        let all: BTreeSet<i64> = cube.present().filter_map(|i| of(&fields[i])).collect();
        match (all.first(), all.last()) {
            (Some(&low), Some(&high)) if low == high => attrs.push(whole(name, low)),
            (Some(low), Some(high)) => attrs.push(Attribute::text(format!("GRIB_{name}"), format!("{low} to {high}"))),
            _ => {}
        }
    };
    range("dataType", &|f| f.data_type.map(i64::from));
    range("intervalInHours", &|f| (f.step != f.step_start).then(|| (f.step - f.step_start) / 3600));
    range("bitsPerValue", &|f| Some(f.packing.bits.into()));
    range("decimalScaleFactor", &|f| Some(f.packing.decimal.into()));
    range("binaryScaleFactor", &|f| Some(f.packing.binary.into()));
    let packings: BTreeSet<&str> = cube.present().map(|i| fields[i].packing.name()).collect();
    attrs.push(Attribute::text("GRIB_packingType", packings.into_iter().collect::<Vec<_>>().join(" ")));
    attrs
}
