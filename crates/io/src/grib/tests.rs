//! Messages made by hand, and what the reader makes of them.

use std::path::PathBuf;

use lithify_codec::Samples;

use super::*;
use crate::model::Variable;

/// A field of edition 2: 3 columns, 2 rows, 8-bit simple packing with D = 1, so that value = R + byte / 10.
#[derive(Clone)]
struct Made {
    category: u8,
    number: u8,
    surface: (u8, u32),
    hours: u32,
    member: Option<u8>,
    scan: u8,
    bytes: Vec<u8>,
    bitmap: Option<u8>,
}

impl Default for Made {
    fn default() -> Self {
        Self {
            category: 0,
            number: 0,
            surface: (100, 50_000),
            hours: 6,
            member: None,
            scan: 0,
            bytes: vec![0, 1, 2, 10, 11, 12],
            bitmap: None,
        }
    }
}

fn section(number: u8, body: &[u8]) -> Vec<u8> {
    [&(body.len() as u32 + 5).to_be_bytes()[..], &[number], body].concat()
}

fn message2(sections: &[Vec<u8>]) -> Vec<u8> {
    let body = sections.concat();
    let head = [&b"GRIB\0\0"[..], &[0, 2], &(body.len() as u64 + 20).to_be_bytes()].concat();
    [head, body, b"7777".to_vec()].concat()
}

/// Section 1: centre 98, 2020-01-02T03:00:00.
fn identity() -> Vec<u8> {
    section(1, &[0, 98, 0, 0, 28, 0, 1, 0x07, 0xe4, 1, 2, 3, 0, 0, 0, 1])
}

fn grid_section(scan: u8) -> Vec<u8> {
    let mut g = vec![0, 0, 0, 0, 6, 0, 0, 0, 0, 6, 0, 0, 0, 0, 0];
    g.extend([0; 10]);
    for v in [3u32, 2, 0, u32::MAX, 10_000_000, 20_000_000] {
        g.extend(v.to_be_bytes());
    }
    g.push(48);
    for v in [9_000_000u32, 22_000_000, 1_000_000, 1_000_000] {
        g.extend(v.to_be_bytes());
    }
    g.push(scan);
    section(3, &g)
}

impl Made {
    /// Sections 4 to 7.
    fn sections(&self) -> Vec<Vec<u8>> {
        let mut product =
            vec![0, 0, 0, u8::from(self.member.is_some()), self.category, self.number, 2, 0, 0, 0, 0, 0, 1];
        product.extend(self.hours.to_be_bytes());
        product.extend([self.surface.0, 0]);
        product.extend(self.surface.1.to_be_bytes());
        product.extend([255; 6]);
        product.extend(self.member.map(|m| [3, m, 5]).iter().flatten());
        let mut packing = (self.bytes.len() as u32).to_be_bytes().to_vec();
        packing.extend([0, 0]);
        packing.extend(2730f32.to_be_bytes());
        packing.extend([0, 0, 0, 1, 8, 0]);
        let bitmap = self.bitmap.map_or(vec![255], |b| vec![0, b]);
        vec![section(4, &product), section(5, &packing), section(6, &bitmap), section(7, &self.bytes)]
    }

    fn message(&self) -> Vec<u8> {
        message2(&[vec![identity(), grid_section(self.scan)], self.sections()].concat())
    }
}

/// Edition 1: ECMWF table 128, 2 m temperature, 12-bit values on the same grid, with a member number.
fn message1(member: u8, reference: [u8; 4]) -> Vec<u8> {
    let mut product =
        vec![0, 0, 52, 128, 98, 1, 255, 0x80, 167, 1, 0, 0, 20, 1, 2, 3, 0, 1, 6, 0, 0, 0, 0, 0, 21, 0, 0, 1];
    product.resize(40, 0);
    product.extend([1, 1, 11, 4, 11, 0, 0, 0, 1, member, 2, 0]);
    let mut grid = vec![
        0, 0, 32, 0, 255, 0, 0, 3, 0, 2, 0, 0x27, 0x10, 0, 0x4e, 0x20, 0x80, 0, 0x23, 0x28, 0, 0x55, 0xf0, 3, 0xe8, 3,
        0xe8, 0,
    ];
    grid.resize(32, 0);
    // 12-bit integers 0, 1, 2, 256, 257, 258.
    let packed = [0x00, 0x00, 0x01, 0x00, 0x21, 0x00, 0x10, 0x11, 0x02];
    let data = [&[0, 0, 20, 0, 0, 0][..], &reference, &[12], &packed].concat();
    let body = [product, grid, data].concat();
    let len = (body.len() as u32 + 12).to_be_bytes();
    [&b"GRIB"[..], &len[1..], &[1], &body, b"7777"].concat()
}

struct Opened {
    source: Box<dyn Source>,
    _dir: tempfile::TempDir,
}

fn open_bytes(bytes: &[u8]) -> Result<Opened> {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("made.grib");
    std::fs::write(&path, bytes).expect("written");
    Ok(Opened { source: crate::formats::open(&path)?, _dir: dir })
}

impl Opened {
    fn variable(&self, path: &str) -> &Variable {
        self.source.root().find(path).expect("a variable")
    }

    fn all(&self, path: &str) -> Vec<f64> {
        let shape = self.variable(path).shape.clone();
        self.block(path, &vec![0; shape.len()], &shape)
    }

    fn block(&self, path: &str, start: &[usize], count: &[usize]) -> Vec<f64> {
        match self.source.read(path, start, count).expect("read") {
            Values::Numbers(n) => n.to_f64(),
            other => panic!("{other:?}"),
        }
    }
}

fn f32s(values: &[f64]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v as f32)).collect()
}

#[test]
fn a_field_has_its_name_coordinates_and_values() {
    let f = open_bytes(&Made::default().message()).expect("opened");
    let t = f.variable("t");
    assert_eq!((t.dims.join(" "), t.shape.clone()), ("latitude longitude".into(), vec![2, 3]));
    for (name, want) in [("units", "K"), ("standard_name", "air_temperature"), ("GRIB_typeOfLevel", "isobaricInhPa")] {
        assert_eq!(t.attr(name).and_then(|a| a.as_text()), Some(want));
    }
    assert_eq!(f.all("t"), f32s(&[273.0, 273.1, 273.2, 274.0, 274.1, 274.2]));
    assert_eq!(f.block("t", &[1, 1], &[1, 2]), f32s(&[274.1, 274.2]));
    for (name, want) in [
        ("latitude", vec![10.0, 9.0]),
        ("longitude", vec![20.0, 21.0, 22.0]),
        ("isobaricInhPa", vec![500.0]),
        ("time", vec![1_577_934_000.0]),
        ("step", vec![6.0]),
        ("valid_time", vec![1_577_955_600.0]),
    ] {
        assert_eq!(f.all(name), want, "{name}");
    }
    assert_eq!((f.source.format(), f.source.warnings()), ("GRIB2", vec![]));
}

#[test]
fn fields_become_hypercubes_and_none_is_dropped() {
    let made = |level, hours, member: Option<u8>, first| {
        Made { surface: (100, level), hours, member, bytes: vec![first; 6], ..Made::default() }.message()
    };
    // Two members, steps and levels; one of the eight is not there.
    let mut file = Vec::new();
    for (i, (m, h, l)) in
        [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 0), (1, 0, 1), (1, 1, 0)].into_iter().enumerate()
    {
        file.extend(made([50_000, 85_000][l], [6, 12][h], Some(m), i as u8 * 10));
    }
    let f = open_bytes(&file).expect("opened");
    let t = f.variable("t");
    assert_eq!(t.dims.join(" "), "number step isobaricInhPa latitude longitude");
    assert_eq!(t.shape, [2, 2, 2, 2, 3]);
    assert_eq!(t.chunks.as_deref(), Some(&[1, 1, 1, 2, 3][..]));
    let firsts = f.block("t", &[0, 0, 0, 1, 2], &[2, 2, 2, 1, 1]);
    assert_eq!(firsts[..7], f32s(&[273.0, 274.0, 275.0, 276.0, 277.0, 278.0, 279.0]));
    assert!(firsts[7].is_nan());
    assert_eq!(f.source.warnings().len(), 1, "{:?}", f.source.warnings());
    assert_eq!((f.all("number"), f.all("isobaricInhPa")), (vec![0.0, 1.0], vec![500.0, 850.0]));

    // A diagonal is too thin for a cube; a repeated key is kept; levels of another type have a name of their own.
    let mut file =
        [made(50_000, 6, None, 0), made(85_000, 12, None, 1), made(70_000, 18, None, 2), made(50_000, 6, None, 3)]
            .concat();
    file.extend(Made { surface: (1, 0), bytes: vec![4; 6], ..Made::default() }.message());
    file.extend(Made { surface: (103, 2), bytes: vec![5; 6], ..Made::default() }.message());
    file.extend(Made { category: 199, number: 7, bytes: vec![6; 6], ..Made::default() }.message());
    let f = open_bytes(&file).expect("opened");
    let firsts: Vec<_> =
        ["t", "t_2", "t_3", "t_4", "t_surface", "2t", "param_0_199_7"].map(|n| f.block(n, &[0, 0], &[1, 1])[0]).into();
    assert_eq!(firsts, f32s(&[273.0, 273.1, 273.2, 273.3, 273.4, 273.5, 273.6]));
}

#[test]
fn bitmaps_scanning_orders_and_repeated_sections_are_undone() {
    let bytes = |scan, want: [f64; 6]| {
        let f = open_bytes(&Made { scan, ..Made::default() }.message()).expect("opened");
        assert_eq!(f.all("t"), f32s(&want), "scanning mode {scan:#x}");
    };
    bytes(0x10, [273.0, 273.1, 273.2, 274.2, 274.1, 274.0]);
    bytes(0x20, [273.0, 273.2, 274.1, 273.1, 274.0, 274.2]);
    bytes(0x30, [273.0, 274.0, 274.1, 273.1, 273.2, 274.2]);

    // The second field of the message repeats the first one's bitmap (254).
    let first = Made { bytes: vec![0, 1, 2, 3], bitmap: Some(0b1011_0100), ..Made::default() };
    let mut second = Made { number: 2, bytes: vec![4, 5, 6, 7], ..Made::default() }.sections();
    second[2] = section(6, &[254]);
    let f =
        open_bytes(&message2(&[vec![identity(), grid_section(0)], first.sections(), second].concat())).expect("opened");
    for (name, want) in [("t", [273.0, 273.1, 273.2, 273.3]), ("pt", [273.4, 273.5, 273.6, 273.7])] {
        let got = f.all(name);
        assert!(got[1].is_nan() && got[4].is_nan(), "{name}: {got:?}");
        assert_eq!([got[0], got[2], got[3], got[5]].to_vec(), f32s(&want), "{name}");
    }
}

#[test]
fn edition_1_and_mixed_files_with_headers_and_padding() {
    // About 273.15 as an IBM float: 0x111266 * 16^(0x43 - 64) / 2^24.
    let reference = [0x43, 0x11, 0x12, 0x66];
    let r = f64::from(0x11_1266) / 4096.0;
    let file = [
        b"\r\nGRIBX ZCZC\r\r\n".to_vec(),
        message1(0, reference),
        vec![0; 9],
        message1(1, reference),
        Made::default().message(),
    ]
    .concat();
    let f = open_bytes(&file).expect("opened");
    assert_eq!(f.source.format(), "GRIB1 and GRIB2");
    let v = f.variable("2t");
    assert_eq!((v.dims.join(" "), v.shape.clone()), ("number latitude longitude".into(), vec![2, 2, 3]));
    let want: Vec<f64> = [0.0, 1.0, 2.0, 256.0, 257.0, 258.0].iter().map(|x| (r + x) / 10.0).collect();
    assert_eq!(f.block("2t", &[1, 0, 0], &[1, 2, 3]), f32s(&want));
    assert_eq!(f.all("latitude"), [10.0, 9.0]);
    assert_eq!(f.all("step"), [6.0]);
    assert_eq!(f.all("t").len(), 6);
}

#[test]
fn complex_packing_with_differences_and_missing_values() {
    // Second order, two groups of three: first values 5 and 7, smallest difference -2; differences 0, 3 | missing, 1.
    let mut packing = 6u32.to_be_bytes().to_vec();
    packing.extend([0, 3]);
    packing.extend(0f32.to_be_bytes());
    packing.extend([0, 0, 0, 0, 4, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    packing.extend(2u32.to_be_bytes());
    packing.extend([0, 4]);
    packing.extend(3u32.to_be_bytes());
    packing.extend([1]);
    packing.extend(3u32.to_be_bytes());
    packing.extend([2, 2, 1]);
    // Octets: 5, 7, -2; references 0, 1; widths 3, 2; lengths 0, 0; group 1: 0, 0, 0 (3 bits); group 2: 3-1, missing, 1-1 (2 bits).
    let data = [5, 7, 0x82, 0x01, 0x32, 0x00, 0b0000_0000, 0b0101_1000];
    let mut sections = Made::default().sections();
    (sections[1], sections[3]) = (section(5, &packing), section(7, &data));
    let f = open_bytes(&message2(&[vec![identity(), grid_section(0)], sections].concat())).expect("opened");
    let got = f.all("t");
    // x2 = 0 - 2 + 2*7 - 5 = 7; x3 = 3 - 2 + 2*7 - 7 = 8; x5 = 1 - 2 + 2*8 - 7 = 8.
    assert!(got[4].is_nan(), "{got:?}");
    assert_eq!([got[0], got[1], got[2], got[3], got[5]], [5.0, 7.0, 7.0, 8.0, 8.0]);
}

#[test]
fn damage_is_an_error_that_names_the_message() {
    let whole = [Made::default().message(), message1(0, [0; 4])].concat();
    let second = Made::default().message().len();
    for cut in [1, 3, 20, 60, 100] {
        let Err(error) = open_bytes(&whole[..whole.len() - cut]) else { panic!("cut by {cut}") };
        let text = error.to_string();
        assert!(
            matches!(error, Error::Corrupt { .. }) && text.contains(&format!("message 2 at byte {second}")),
            "{text}"
        );
    }
    // Every byte, changed in three ways, gives an error or values, without a panic.
    let mut errors = 0;
    for i in 0..whole.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = whole.clone();
            bytes[i] ^= flip;
            let Ok(f) = open_bytes(&bytes) else {
                errors += 1;
                continue;
            };
            for (path, v) in f.source.root().walk() {
                if v.len() < 1 << 20 {
                    errors += usize::from(f.source.read(&path, &vec![0; v.shape.len()], &v.shape).is_err());
                }
            }
        }
    }
    assert!(errors > 100, "{errors}");
    assert!(matches!(open_bytes(b"GRIB\0\0\0\x03 and so on"), Err(Error::Unsupported { .. })));
}

#[test]
fn unsupported_packing_opens_and_is_named_when_read() {
    let mut file = message1(0, [0; 4]);
    // Octet 4 of the data section: second-order packing.
    let at = file.len() - 4 - 20 + 3;
    file[at] = 0x40;
    let f = open_bytes(&file).expect("opened");
    let error = f.source.read("2t", &[0, 0], &[2, 3]).expect_err("not read").to_string();
    assert!(error.contains("second-order") && error.contains("message 1 at byte 0"), "{error}");
}

/// Sums of what eccodes 2.50 decodes, over all values that are not missing, after rounding to f32.
#[test]
fn development_files() {
    let Some(dir) = std::env::var_os("LITHIFY_DEV_DATA").map(PathBuf::from) else { return };
    for (file, n_fields, n_missing, sum) in DEVELOPMENT {
        let source = crate::formats::open(&dir.join("esm").join(file)).expect(file);
        assert!(source.warnings().is_empty(), "{file}: {:?}", source.warnings());
        let (mut fields, mut missing, mut total) = (0, 0, 0.0);
        for (path, v) in source.root().walk().into_iter().filter(|(_, v)| v.attr("GRIB_gridType").is_some()) {
            let Values::Numbers(Samples::F32(values)) =
                source.read(&path, &vec![0; v.shape.len()], &v.shape).expect(file)
            else {
                panic!("{path} of {file} is not f32")
            };
            fields += v.len() / v.attr("GRIB_numberOfPoints").and_then(|a| a.as_f64()).expect("a number") as usize;
            missing += values.iter().filter(|x| x.is_nan()).count();
            total += values.iter().filter(|x| !x.is_nan()).map(|&x| f64::from(x)).sum::<f64>();
        }
        assert_eq!((fields, missing), (n_fields, n_missing), "{file}");
        assert!((total / sum - 1.0).abs() < 1e-10, "{file}: {total} for {sum}");
    }
}

const DEVELOPMENT: [(&str, usize, usize, f64); 4] = [
    ("gfs.t12z.pgrbf120.2p5deg.grib2", 343, 214138, 8561181940.231513),
    ("safrica.grib2", 75, 0, 236636289.85965914),
    ("reduced_latlon_surface.grib2", 1, 98701, 540917.035359092),
    ("era5-levels-members.grib", 160, 0, 19987970263.30455),
];
