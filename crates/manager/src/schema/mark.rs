use archipelago_proto::{DecodeError, FieldName, Limits, join_fields, split_fields};
use bytes::Bytes;

/// What the names of the fields begin with that say in which version of its schema a map is: `$schema:3`. Names that go on
/// with a number from 2 are reserved at the top of a value.
pub const SCHEMA_FIELD_PREFIX: &str = "$schema:";

/// What a mark holds: `true`. Only that it is there counts.
const PRESENT: &[u8] = &[0xc3];

/// A value, and the marks that it had on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Marked {
    /// The value without its marks.
    pub(super) value: Bytes,
    /// The versions that it says it is in, ascending.
    pub(super) marks: Vec<u32>,
}

impl Marked {
    /// Takes the marks off a value. What is no map of fields has none.
    pub(super) fn new(value: &Bytes, limits: &Limits) -> Self {
        let unmarked = || Marked { value: value.clone(), marks: Vec::new() };
        if !may_be_marked(value) {
            return unmarked();
        }
        let Ok(Some(mut fields)) = split_fields(value, &limits.for_state()) else { return unmarked() };
        let mut marks = Vec::new();
        fields.retain(|(name, _)| {
            let version = version_marked(name);
            marks.extend(version);
            version.is_none()
        });
        if marks.is_empty() {
            return unmarked();
        }
        marks.sort_unstable();
        Marked { value: joined(&fields), marks }
    }

    /// The version that the value is in.
    pub(super) fn version(&self) -> u32 {
        self.marks.last().copied().unwrap_or(1)
    }
}

/// False if nothing in these bytes, of a value or a record, is a mark. Almost every value is without, and need not be taken
/// apart.
pub(crate) fn may_be_marked(bytes: &[u8]) -> bool {
    bytes.windows(SCHEMA_FIELD_PREFIX.len()).any(|window| window == SCHEMA_FIELD_PREFIX.as_bytes())
}

/// The version that a field of this name marks, if it is a mark.
pub(super) fn version_marked(name: &str) -> Option<u32> {
    let digits = name.strip_prefix(SCHEMA_FIELD_PREFIX)?;
    let version = digits.parse().ok().filter(|version| *version > 1)?;
    // Each version has one name.
    (!digits.starts_with(['0', '+'])).then_some(version)
}

/// The field that marks a version.
pub(super) fn mark(version: u32) -> (FieldName, Bytes) {
    (format!("{SCHEMA_FIELD_PREFIX}{version}").into(), Bytes::from_static(PRESENT))
}

/// The value with these marks on it; `None` if it has to carry any and is no map of fields.
///
/// # Errors
/// [`DecodeError`] if its fields cannot be told apart.
pub(super) fn marked(
    value: Bytes,
    marks: impl IntoIterator<Item = u32>,
    limits: &Limits,
) -> Result<Option<Bytes>, DecodeError> {
    let mut marks = marks.into_iter().map(mark).peekable();
    if marks.peek().is_none() {
        return Ok(Some(value));
    }
    let fields = split_fields(&value, &limits.for_state())?;
    Ok(fields.map(|mut fields| {
        fields.extend(marks);
        joined(&fields)
    }))
}

pub(super) fn joined(fields: &[(FieldName, Bytes)]) -> Bytes {
    join_fields(fields.iter().map(|(name, value)| (&**name, &value[..])))
}

#[cfg(test)]
mod tests {
    use archipelago_crdt::{Value, value};
    use archipelago_proto::{decode_value, encode_value};

    use super::*;

    fn encoded(value: &Value) -> Bytes {
        encode_value(value, &Limits::default()).unwrap()
    }

    #[test]
    fn the_greatest_mark_is_the_version_and_no_mark_is_version_1() {
        let limits = Limits::default();
        for (value, version) in [
            (value!({ "name": "Ann" }), 1),
            (value!({ "$schema:2": true }), 2),
            (value!({ "$schema:10": true, "$schema:9": true, "name": "Ann" }), 10),
            (value!("$schema:3"), 1),
            (value!({ "inside": { "$schema:3": true } }), 1),
        ] {
            assert_eq!(Marked::new(&encoded(&value), &limits).version(), version, "{value}");
        }
    }

    #[test]
    fn only_names_of_versions_from_2_are_marks() {
        for (name, version) in [
            ("$schema:2", Some(2)),
            ("$schema:4294967295", Some(u32::MAX)),
            ("$schema:4294967296", None),
            ("$schema:1", None),
            ("$schema:0", None),
            ("$schema:02", None),
            ("$schema:+2", None),
            ("$schema:", None),
            ("$schema", None),
            ("schema:2", None),
        ] {
            assert_eq!(version_marked(name), version, "{name}");
        }
    }

    #[test]
    fn a_mark_goes_on_and_comes_off_without_a_trace() {
        let limits = Limits::default();
        for value in [value!({ "name": "Ann", "$schema:x": 1 }), value!({})] {
            let bytes = encoded(&value);
            let with_marks = marked(bytes.clone(), [2, 3], &limits).unwrap().unwrap();
            assert_ne!(with_marks, bytes);
            let off = Marked::new(&with_marks, &limits);
            assert_eq!((off.value, off.marks), (bytes, vec![2, 3]));
            assert_eq!(
                decode_value::<Value>(&with_marks, &limits).unwrap().get("$schema:3"),
                Some(&true.into())
            );
        }
        assert_eq!(marked(encoded(&value!(7)), [2], &limits), Ok(None), "only maps can carry a mark");
        assert_eq!(marked(encoded(&value!(7)), [], &limits), Ok(Some(encoded(&value!(7)))));
    }
}
