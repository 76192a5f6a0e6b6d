//! GDAL's metadata in a TIFF (tag 42112): a list of items.
//!
//! # On the wire
//! `<GDALMetadata><Item name="" sample="" role="" domain="">text</Item>...</GDALMetadata>`; sample counts bands from 0. GDAL escapes the
//! text twice: once as text, once as XML.

use quick_xml::Reader;
use quick_xml::escape::{escape, resolve_predefined_entity};
use quick_xml::events::{BytesStart, Event};

/// One item.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Item {
    pub(super) name: String,
    /// Band, counted from 0; none for the whole file.
    pub(super) sample: Option<usize>,
    /// What GDAL takes it for: `description`, `scale`, `offset`, `unittype`, ...
    pub(super) role: Option<String>,
    pub(super) domain: Option<String>,
    pub(super) text: String,
}

/// The items in order; `None` if this is not such a list.
pub(super) fn parse(text: &str) -> Option<Vec<Item>> {
    let mut reader = Reader::from_str(text);
    let (mut items, mut open): (Vec<Item>, Option<Item>) = (Vec::new(), None);
    loop {
        match reader.read_event().ok()? {
            Event::Start(e) if e.name().as_ref() == b"Item" => open = Some(item(&e)?),
            Event::Empty(e) if e.name().as_ref() == b"Item" => items.push(item(&e)?),
            Event::End(e) if e.name().as_ref() == b"Item" => {
                items.extend(open.take().map(|i| Item { text: unescaped(i.text), ..i }));
            }
            Event::Text(t) => {
                if let Some(open) = &mut open {
                    open.text += &t.decode().ok()?;
                }
            }
            Event::CData(t) => {
                if let Some(open) = &mut open {
                    open.text += &t.decode().ok()?;
                }
            }
            Event::GeneralRef(r) => {
                if let Some(open) = &mut open {
                    match r.resolve_char_ref().ok()? {
                        Some(c) => open.text.push(c),
                        None => open.text += resolve_predefined_entity(&r.decode().ok()?)?,
                    }
                }
            }
            Event::Eof => return Some(items),
            _ => {}
        }
    }
}

/// Text of others may have been escaped once.
fn unescaped(text: String) -> String {
    quick_xml::escape::unescape(&text).map(|t| t.into_owned()).unwrap_or(text)
}

fn item(e: &BytesStart<'_>) -> Option<Item> {
    let mut out = Item::default();
    for a in e.attributes() {
        let a = a.ok()?;
        let value = quick_xml::escape::unescape(std::str::from_utf8(&a.value).ok()?).ok()?.into_owned();
        match a.key.as_ref() {
            b"name" => out.name = value,
            b"sample" => out.sample = Some(value.parse().ok()?),
            b"role" => out.role = Some(value),
            b"domain" => out.domain = Some(value),
            _ => {}
        }
    }
    Some(out)
}

/// The list as text; none without items.
pub(super) fn build(items: &[Item]) -> Option<String> {
    if items.is_empty() {
        return None;
    }
    let mut out = String::from("<GDALMetadata>\n");
    for item in items {
        out += &format!("  <Item name=\"{}\"", escape(&item.name));
        let sample = item.sample.map(|s| s.to_string());
        for (key, value) in [("domain", &item.domain), ("sample", &sample), ("role", &item.role)] {
            if let Some(value) = value {
                out += &format!(" {key}=\"{}\"", escape(value));
            }
        }
        out += &format!(">{}</Item>\n", escape(escape(&item.text)));
    }
    Some(out + "</GDALMetadata>\n")
}
